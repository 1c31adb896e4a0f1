"""Every source that pack refuses before loading it says what, where, why and how to mend it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest

from checkpoints import VIT_PROCESSOR, write_bert_folder, write_safetensors, write_sentence_files, write_vit_folder
from goldens import check_golden
from models import make_tiny_onnx, write_json
from packc.errors import SourceError
from packc.ingest.inspect import inspect_source
from packc.ingest.source import SourceInfo
from packc.spec.model import ModelSection


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PACK_CACHE_DIR", str(tmp_path / "cache"))


def inspect(source: object, **section: object) -> SourceInfo:
    return inspect_source(ModelSection.model_validate({"name": "m", "source": str(source), **section}))


def pickle_only(folder: Path) -> Path:
    write_bert_folder(folder)
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    return folder


def truncated_weights(folder: Path) -> Path:
    file = write_bert_folder(folder) / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-60])
    return folder


def truncated_header(folder: Path) -> Path:
    file = write_bert_folder(folder) / "model.safetensors"
    file.write_bytes(file.read_bytes()[:50])
    return folder


def not_safetensors(folder: Path) -> Path:
    (write_bert_folder(folder) / "model.safetensors").write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    return folder


def missing_shard(folder: Path) -> Path:
    (write_bert_folder(folder) / "model.safetensors").unlink()
    write_safetensors(folder / "model-00001-of-00002.safetensors", {"a": (2,)})
    shards = {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}
    write_json(folder / "model.safetensors.index.json", {"weight_map": shards})
    return folder


def no_weights(folder: Path) -> Path:
    (write_bert_folder(folder) / "model.safetensors").unlink()
    return folder


def no_tokenizer(folder: Path) -> Path:
    (write_bert_folder(folder) / "tokenizer.json").unlink()
    return folder


def no_processor(folder: Path) -> Path:
    (write_vit_folder(folder) / "preprocessor_config.json").unlink()
    return folder


def own_tokenizer_code(folder: Path) -> Path:
    write_json(write_bert_folder(folder) / "tokenizer_config.json", {"auto_map": {"AutoTokenizer": ["t.Own", None]}})
    return folder


def no_config(folder: Path) -> Path:
    folder.mkdir()
    return folder


def bad_config(folder: Path) -> Path:
    (write_bert_folder(folder) / "config.json").write_text('{"architectures": [')
    return folder


CHECKPOINTS: dict[str, Callable[[Path], Path]] = {
    "pickle_only": pickle_only,
    "truncated_weights": truncated_weights,
    "truncated_header": truncated_header,
    "not_safetensors": not_safetensors,
    "missing_shard": missing_shard,
    "no_weights": no_weights,
    "no_tokenizer": no_tokenizer,
    "no_processor": no_processor,
    "no_config": no_config,
    "bad_config": bad_config,
    "unknown_architecture": lambda folder: write_bert_folder(folder, architectures=["LlamaForCausalLM"]),
    "no_architecture": lambda folder: write_bert_folder(folder, architectures=None),
    "odd_architecture": lambda folder: write_bert_folder(folder, architectures=["Bert\ntrust_remote_code = true"]),
    "own_tokenizer_code": own_tokenizer_code,
    "own_code": lambda folder: write_bert_folder(folder, auto_map={"AutoModel": "modeling.Model"}),
    "already_quantized": lambda folder: write_bert_folder(folder, quantization_config={"bits": 4}),
    "several_modalities": lambda folder: write_bert_folder(folder, **{**CLIP, "model_type": "llava"}),
    "neither_text_nor_image": lambda folder: write_bert_folder(folder, vocab_size=None),
    "dense_module": lambda folder: write_sentence_files(
        write_bert_folder(folder), "Transformer", "Pooling", "Dense", "Normalize"
    ),
    "odd_pooling": lambda folder: write_sentence_files(
        write_bert_folder(folder),
        "Transformer",
        "Pooling",
        pooling={"pooling_mode_lasttoken": True, "pooling_mode_mean_tokens": False},
    ),
    "no_resize": lambda folder: write_vit_folder(folder, do_resize=False),
    "warp_then_crop": lambda folder: write_vit_folder(
        folder, do_center_crop=True, crop_size={"height": 24, "width": 24}
    ),
    "odd_mean": lambda folder: write_vit_folder(folder, image_mean=[0.5]),
}


@pytest.mark.parametrize("case", CHECKPOINTS)
def test_refused_checkpoint(case: str, tmp_path: Path) -> None:
    folder = CHECKPOINTS[case](tmp_path / "model")
    with pytest.raises(SourceError) as caught:
        inspect(folder)
    check_golden(f"ingest/{case}.txt", caught.value.render().replace(str(tmp_path), "DIR") + "\n")


CLIP = {
    "architectures": ["CLIPModel"],
    "model_type": "clip",
    "text_config": {"vocab_size": 100, "eos_token_id": 3},
    "vision_config": {"image_size": 32, "num_channels": 3},
}


def test_of_two_encoders_the_text_one_is_taken_unless_images_are_wanted(tmp_path: Path) -> None:
    folder = write_bert_folder(tmp_path / "model", **CLIP)
    write_json(folder / "preprocessor_config.json", VIT_PROCESSOR)
    assert inspect(folder).part == "text_tower"
    assert inspect(folder, task="image-feature-extraction").part == "image_tower"


def test_of_an_encoder_decoder_the_encoder_is_taken(tmp_path: Path) -> None:
    found = inspect(write_bert_folder(tmp_path / "model", architectures=["T5Model"], is_encoder_decoder=True))
    assert found.task == "feature-extraction"


@pytest.mark.parametrize(
    ("case", "section"),
    [
        ("other_head", {"task": "text-classification"}),
        ("pooling_of_head", {"pooling": "mean"}),
    ],
)
def test_refused_section(case: str, section: dict[str, str], tmp_path: Path) -> None:
    architecture = "BertModel" if case == "other_head" else "BertForSequenceClassification"
    folder = write_bert_folder(tmp_path / "model", architectures=[architecture])
    with pytest.raises(SourceError) as caught:
        inspect(folder, **section)
    check_golden(f"ingest/{case}.txt", caught.value.render().replace(str(tmp_path), "DIR") + "\n")


def custom_operator(model: onnx.ModelProto) -> None:
    model.graph.node[1].op_type = "Blend"


def unknown_domain(model: onnx.ModelProto) -> None:
    model.graph.node[1].domain = "acme.ops"
    model.opset_import.append(onnx.helper.make_opsetid("acme.ops", 1))


def operator_of_later_opset(model: onnx.ModelProto) -> None:
    model.opset_import[0].version = 13
    model.graph.node[2].op_type = "Mish"


def data_outside(model: onnx.ModelProto) -> None:
    weight = model.graph.initializer[0]
    weight.ClearField("raw_data")
    weight.data_location = onnx.TensorProto.EXTERNAL
    weight.external_data.add(key="location", value="../../etc/weights")


ONNX_EDITS: dict[str, Callable[[onnx.ModelProto], None]] = {
    "onnx_custom_operator": custom_operator,
    "onnx_unknown_domain": unknown_domain,
    "onnx_later_operator": operator_of_later_opset,
    "onnx_data_outside": data_outside,
}


@pytest.mark.parametrize("case", ONNX_EDITS)
def test_refused_onnx(case: str, tmp_path: Path) -> None:
    path = make_tiny_onnx(tmp_path / "model.onnx", edit=ONNX_EDITS[case])
    with pytest.raises(SourceError) as caught:
        inspect(path)
    check_golden(f"ingest/{case}.txt", caught.value.render().replace(str(tmp_path), "DIR") + "\n")


@pytest.mark.parametrize("case", ["onnx_data_missing", "onnx_data_truncated"])
def test_broken_external_data(case: str, tmp_path: Path) -> None:
    path = make_tiny_onnx(tmp_path / "model.onnx", external_data=True)
    data = tmp_path / "model.onnx.data"
    if case == "onnx_data_missing":
        data.unlink()
    else:
        data.write_bytes(data.read_bytes()[:-10])
    with pytest.raises(SourceError) as caught:
        inspect(path)
    check_golden(f"ingest/{case}.txt", caught.value.render().replace(str(tmp_path), "DIR") + "\n")


def test_refused_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sources that are no model at all, in one golden file."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "weights.pt").write_bytes(b"")
    (tmp_path / "notes.txt").write_text("")
    (tmp_path / "garbage.onnx").write_bytes(b"not a model")
    (tmp_path / "factories.py").write_text("def make_model():\n    ...\n")
    sources = [
        tmp_path / "nothing",
        tmp_path / "nowhere" / "acme" / "model",
        tmp_path / "nothing.onnx",
        tmp_path / "weights.pt",
        tmp_path / "notes.txt",
        tmp_path / "garbage.onnx",
        "acme/no-such-model",
        "no_such_module:make_model",
        "factories:make_nothing",
    ]
    rendered = []
    for source in sources:
        with pytest.raises(SourceError) as caught:
            inspect(source)
        rendered.append(caught.value.render())
    with pytest.raises(SourceError) as caught:
        inspect(make_tiny_onnx(tmp_path / "model.onnx"), pooling="mean")
    rendered.append(caught.value.render())
    check_golden("ingest/paths.txt", "\n\n---\n\n".join(rendered).replace(str(tmp_path), "DIR") + "\n")


def test_looking_at_a_checkpoint_imports_nothing_heavy(tmp_path: Path) -> None:
    folder = write_bert_folder(tmp_path / "model")
    code = (
        "import sys\n"
        "from packc.ingest.inspect import inspect_source\n"
        "from packc.spec.model import ModelSection\n"
        f"inspect_source(ModelSection(name='m', source={str(folder)!r}))\n"
        "print(sorted({'torch', 'transformers', 'onnx', 'onnxruntime', 'tokenizers'} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_a_vocabulary_of_patches_is_no_text(tmp_path: Path) -> None:
    folder = write_vit_folder(tmp_path / "beit")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "vocab_size": 8192, "patch_size": 16}))
    assert inspect(folder).task == "image-classification"
