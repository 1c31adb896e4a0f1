from __future__ import annotations

from pathlib import Path

import onnx
import pytest

from models import make_tiny_onnx
from packc.ingest.onnx_graph import copy_onnx, has_convolutions
from packc.ingest.reference import OnnxReference


def first_axis(value: onnx.ValueInfoProto) -> onnx.TensorShapeProto.Dimension:
    return value.type.tensor_type.shape.dim[0]


def call_it_n(model: onnx.ModelProto) -> None:
    for value in (model.graph.input[0], model.graph.output[0]):
        first_axis(value).dim_param = "N"


def leave_unnamed(model: onnx.ModelProto) -> None:
    for value in (model.graph.input[0], model.graph.output[0]):
        first_axis(value).Clear()


@pytest.mark.parametrize("edit", [call_it_n, leave_unnamed, None])
@pytest.mark.parametrize("external", [False, True])
def test_batch_axis_is_named(edit: object, external: bool, tmp_path: Path) -> None:
    path = make_tiny_onnx(tmp_path / "given" / "net.onnx", external_data=external, edit=edit)  # type: ignore[arg-type]
    (tmp_path / "entry").mkdir()
    copy_onnx(path, tmp_path / "entry" / "model.onnx")
    inputs, outputs = OnnxReference(tmp_path / "entry" / "model.onnx").read_signature()
    assert (inputs[0].shape, outputs[0].shape) == (("batch", 8), ("batch", 4))
    assert (tmp_path / "entry" / "net.onnx.data").exists() == external


def test_fixed_batch_stays_fixed(tmp_path: Path) -> None:
    def fix(model: onnx.ModelProto) -> None:
        for value in (model.graph.input[0], model.graph.output[0]):
            first_axis(value).dim_value = 2

    copy_onnx(make_tiny_onnx(tmp_path / "net.onnx", edit=fix), tmp_path / "model.onnx")
    assert OnnxReference(tmp_path / "model.onnx").read_signature()[0][0].shape == (2, 8)


def test_token_inputs_get_a_sequence_axis(tmp_path: Path) -> None:
    def make_tokens(model: onnx.ModelProto) -> None:
        model.graph.input[0].name = model.graph.node[0].input[0] = "input_ids"
        model.graph.input[0].type.tensor_type.shape.dim[1].dim_param = "length"

    copy_onnx(make_tiny_onnx(tmp_path / "net.onnx", edit=make_tokens), tmp_path / "model.onnx")
    assert OnnxReference(tmp_path / "model.onnx").read_signature()[0][0].shape == ("batch", "sequence")


def test_weights_among_the_inputs_are_weights_alone(tmp_path: Path) -> None:
    def list_weight(model: onnx.ModelProto) -> None:
        model.graph.input.append(onnx.helper.make_tensor_value_info("weight", onnx.TensorProto.FLOAT, [8, 4]))

    copy_onnx(make_tiny_onnx(tmp_path / "net.onnx", edit=list_weight), tmp_path / "model.onnx")
    assert [spec.name for spec in OnnxReference(tmp_path / "model.onnx").read_signature()[0]] == ["features"]
    assert [value.name for value in onnx.load(tmp_path / "model.onnx").graph.input] == ["features"]


def make_branch(model: onnx.ModelProto) -> onnx.NodeProto:
    """An `If` in whose branch a node of the model's graph stands."""
    nodes = list(model.graph.node)
    del model.graph.node[:]
    branch = onnx.helper.make_graph(nodes, "then", [], list(model.graph.output))
    return onnx.helper.make_node("If", ["condition"], ["scores"], then_branch=branch, else_branch=branch)


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize(("operator", "found"), [("MatMul", False), ("Conv", True), ("ConvTranspose", True)])
def test_convolutions_are_found_wherever_they_are(operator: str, found: bool, nested: bool, tmp_path: Path) -> None:
    def edit(model: onnx.ModelProto) -> None:
        model.graph.node[0].op_type = operator
        if nested:
            model.graph.node.append(make_branch(model))

    assert has_convolutions(make_tiny_onnx(tmp_path / "net.onnx", edit=edit)) == found
