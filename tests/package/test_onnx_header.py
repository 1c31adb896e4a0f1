from __future__ import annotations

from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from models import make_tiny_onnx
from packc.errors import SourceError
from packc.package.onnx_header import GraphTensor, read_onnx_header


def test_inputs_outputs_and_external_files(tmp_path: Path) -> None:
    header = read_onnx_header(make_tiny_onnx(tmp_path / "a.onnx", external_data=True))
    assert header.inputs == (GraphTensor("features", "float32", ("batch", 8)),)
    assert header.outputs == (GraphTensor("scores", "float32", ("batch", 4)),)
    assert header.external_files == ("a.onnx.data",)
    assert read_onnx_header(make_tiny_onnx(tmp_path / "b.onnx")).external_files == ()


def test_the_opset_is_that_of_the_default_domain(tmp_path: Path) -> None:
    def add_domain(model: onnx.ModelProto) -> None:
        default = model.opset_import.pop()
        model.opset_import.extend([helper.make_opsetid("com.microsoft", 1), default])

    assert read_onnx_header(make_tiny_onnx(tmp_path / "a.onnx", edit=add_domain)).opset == 20

    def drop(model: onnx.ModelProto) -> None:
        del model.opset_import[:]

    assert read_onnx_header(make_tiny_onnx(tmp_path / "b.onnx", edit=drop)).opset == 0


def test_odd_tensors(tmp_path: Path) -> None:
    graph = helper.make_graph(
        [helper.make_node("Identity", [name], [f"{name}_out"]) for name in ("scalar", "open", "text", "packed")],
        "odd",
        [
            helper.make_tensor_value_info("scalar", TensorProto.FLOAT16, []),
            helper.make_tensor_value_info("open", TensorProto.BOOL, None),
            helper.make_tensor_value_info("text", TensorProto.STRING, [None, -1, 3]),
            helper.make_tensor_value_info("packed", TensorProto.INT4, ["batch"]),
            helper.make_tensor_value_info("weight", TensorProto.FLOAT, [1]),
        ],
        [helper.make_tensor_value_info("scalar_out", TensorProto.FLOAT16, [])],
        [numpy_helper.from_array(__import__("numpy").zeros(1, "float32"), "weight")],
    )
    onnx.save(helper.make_model(graph), tmp_path / "odd.onnx")
    assert read_onnx_header(tmp_path / "odd.onnx").inputs == (
        GraphTensor("scalar", "float16", ()),
        GraphTensor("open", "bool", None),
        GraphTensor("text", "object", ("?", "?", 3)),
        GraphTensor("packed", f"onnx type {TensorProto.INT4}", ("batch",)),
    )


def test_files_that_are_no_model(tmp_path: Path) -> None:
    whole = make_tiny_onnx(tmp_path / "whole.onnx").read_bytes()
    for name, content in {
        "empty": b"",
        "text": b"hello, this is not a model at all",
        "cut": whole[: len(whole) // 2],
        "cut_in_a_number": whole[:1],
    }.items():
        path = tmp_path / f"{name}.onnx"
        path.write_bytes(content)
        with pytest.raises(SourceError, match="is not a whole ONNX model"):
            read_onnx_header(path)
