"""Refused files are in test_inspect.py, with their texts."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest

from checkpoints import BERT_CONFIG, write_bert_folder
from models import make_tiny_onnx, write_json
from packc.ingest.onnx_file import inspect_onnx, load_header, read_signature
from packc.ingest.source import SourceInfo, TextPreprocessing
from packc.spec.model import ModelSection
from packc.tensors import TensorSpec


def inspect(path: Path, **section: object) -> SourceInfo:
    return inspect_onnx(path, ModelSection.model_validate({"name": "m", "source": str(path), **section}))


def rename_features(model: onnx.ModelProto) -> None:
    """Makes the graph look like one of a text encoder, by its input's name."""
    model.graph.input[0].name = model.graph.node[0].input[0] = "input_ids"


@pytest.mark.parametrize("external", [False, True])
def test_tensors_in_tensors_out(external: bool, tmp_path: Path) -> None:
    info = inspect(make_tiny_onnx(tmp_path / "model.onnx", external_data=external))
    assert (info.origin, info.task, info.preprocessing, info.pooling) == ("onnx", "tensors", None, "none")
    assert info.parameters == 8 * 4 + 4


def test_signature(tmp_path: Path) -> None:
    inputs, outputs = read_signature(load_header(make_tiny_onnx(tmp_path / "model.onnx")))
    assert inputs == (TensorSpec("features", "float32", ("batch", 8)),)
    assert outputs == (TensorSpec("scores", "float32", ("batch", 4)),)


def test_external_data_are_in_the_fingerprint(tmp_path: Path) -> None:
    path = make_tiny_onnx(tmp_path / "model.onnx", external_data=True)
    before = inspect(path).fingerprint
    data = tmp_path / "model.onnx.data"
    data.write_bytes(bytes(len(data.read_bytes())))
    assert inspect(path).fingerprint != before


def test_links_into_another_folder_are_followed(tmp_path: Path) -> None:
    """As in the hub's cache, where every file of a snapshot is a link."""
    make_tiny_onnx(tmp_path / "blobs" / "model.onnx", external_data=True)
    (tmp_path / "snapshot").mkdir()
    for name in ("model.onnx", "model.onnx.data"):
        (tmp_path / "snapshot" / name).symlink_to(tmp_path / "blobs" / name)
    assert inspect(tmp_path / "snapshot" / "model.onnx").parameters == 36


def test_tokenizer_beside_the_graph_is_used(tmp_path: Path) -> None:
    folder = write_bert_folder(tmp_path / "bert")
    path = make_tiny_onnx(folder / "onnx" / "model.onnx", edit=rename_features)
    info = inspect(path)
    assert info.task == "feature-extraction"
    assert isinstance(info.preprocessing, TextPreprocessing)
    assert info.preprocessing.inputs == ("input_ids",)
    write_json(folder / "config.json", {**BERT_CONFIG, "architectures": ["BertForTokenClassification"]})
    assert inspect(path).task == "token-classification"


@pytest.mark.parametrize("name", ["tokenizer.json", "config.json", "tokenizer_config.json"])
def test_preprocessing_is_in_the_fingerprint(name: str, tmp_path: Path) -> None:
    folder = write_bert_folder(tmp_path / "bert")
    path = make_tiny_onnx(folder / "onnx" / "model.onnx", edit=rename_features)
    before = inspect(path).fingerprint
    with (folder / name).open("a") as file:
        file.write("\n")
    assert inspect(path).fingerprint != before


def test_tokenizer_beside_another_graph_is_not(tmp_path: Path) -> None:
    path = make_tiny_onnx(write_bert_folder(tmp_path / "bert") / "model.onnx")
    assert inspect(path).preprocessing is None


def test_functions_of_the_model_itself_are_no_unknown_operators(tmp_path: Path) -> None:
    def add_function(model: onnx.ModelProto) -> None:
        node = onnx.helper.make_node("Relu", ["x"], ["y"])
        opset = [onnx.helper.make_opsetid("", 20)]
        model.functions.append(onnx.helper.make_function("acme", "Ramp", ["x"], ["y"], [node], opset))
        model.graph.node[2].op_type, model.graph.node[2].domain = "Ramp", "acme"
        model.opset_import.append(onnx.helper.make_opsetid("acme", 1))

    assert inspect(make_tiny_onnx(tmp_path / "model.onnx", edit=add_function)).task == "tensors"


def test_operators_of_onnx_runtime_are_known(tmp_path: Path) -> None:
    def use_gelu(model: onnx.ModelProto) -> None:
        model.graph.node[2].op_type, model.graph.node[2].domain = "Gelu", "com.microsoft"
        model.opset_import.append(onnx.helper.make_opsetid("com.microsoft", 1))

    assert inspect(make_tiny_onnx(tmp_path / "model.onnx", edit=use_gelu)).task == "tensors"
