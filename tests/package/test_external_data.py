from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from packc.package.external_data import rename_external_files
from packc.package.onnx_header import read_onnx_header

if TYPE_CHECKING:
    from onnx import ModelProto, SparseTensorProto


def make_branching_graph(path: Path) -> Path:
    """An If whose branches add a weight each, and a Mul with one: one in the graph, one in a branch, one in a node."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    def branch(name: str, node: onnx.NodeProto, *weights: TensorProto) -> onnx.GraphProto:
        add = helper.make_node("Add", ["x", "w"], [name])
        output = helper.make_tensor_value_info(name, TensorProto.FLOAT, [2])
        return helper.make_graph([*([node] if node.op_type else []), add], name, [], [output], list(weights))

    def weight(value: float, name: str) -> TensorProto:
        return numpy_helper.from_array(np.full(2, value, np.float32), name)

    constant = helper.make_node("Constant", [], ["w"], value=weight(3.0, "w"))
    inside = helper.make_node(
        "If",
        ["yes"],
        ["sum"],
        then_branch=branch("a", onnx.NodeProto(), weight(2.0, "w")),
        else_branch=branch("b", constant),
    )
    nodes = [inside, helper.make_node("Mul", ["sum", "scale"], ["y"])]
    inputs = [
        helper.make_tensor_value_info("x", TensorProto.FLOAT, [2]),
        helper.make_tensor_value_info("yes", TensorProto.BOOL, []),
    ]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, [2])]
    graph = helper.make_graph(nodes, "branching", inputs, outputs, [weight(10.0, "scale")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path.parent.mkdir(parents=True)
    onnx.save_model(
        model, path, save_as_external_data=True, location="model.onnx.data", size_threshold=0, convert_attribute=True
    )
    return path


def test_all_tensors_of_a_graph_are_in_the_renamed_file(tmp_path: Path) -> None:
    import onnxruntime as ort

    model = make_branching_graph(tmp_path / "first" / "model.onnx")
    place = tmp_path / "second" / "model.l4.onnx"
    place.parent.mkdir()
    rename_external_files(model, place, {"model.onnx.data": "model.onnx.l4.data", "other": "another"})
    model.with_name("model.onnx.data").rename(place.with_name("model.onnx.l4.data"))
    assert read_onnx_header(place).external_files == ("model.onnx.l4.data",)
    assert b"model.onnx.data" not in place.read_bytes()
    session = ort.InferenceSession(place, providers=["CPUExecutionProvider"])
    for yes, expected in ((True, 30.0), (False, 40.0)):
        (y,) = session.run(None, {"x": np.ones(2, np.float32), "yes": np.array(yes)})
        assert y.tolist() == [expected] * 2


def test_files_that_nobody_renames_keep_their_names(tmp_path: Path) -> None:
    model = make_branching_graph(tmp_path / "first" / "model.onnx")
    rename_external_files(model, tmp_path / "model.onnx", {})
    assert (tmp_path / "model.onnx").read_bytes() == model.read_bytes()


def make_sparse_tensor() -> SparseTensorProto:
    """Two parts, each in a file beside the graph."""
    from onnx import TensorProto, helper

    parts = []
    for name, dtype in (("values", TensorProto.FLOAT), ("indices", TensorProto.INT64)):
        part = TensorProto(name=name, data_type=dtype, dims=[1], data_location=TensorProto.EXTERNAL)
        part.external_data.add(key="location", value="model.onnx.data")
        parts.append(part)
    return helper.make_sparse_tensor(*parts, [4])


def put_into_graph(model: ModelProto) -> None:
    model.graph.sparse_initializer.append(make_sparse_tensor())


def put_into_attribute(model: ModelProto) -> None:
    model.graph.node.add(op_type="Constant").attribute.add(name="sparse_value").sparse_tensor.CopyFrom(
        make_sparse_tensor()
    )


def put_into_list(model: ModelProto) -> None:
    model.graph.node.add(op_type="Any").attribute.add(name="all").sparse_tensors.append(make_sparse_tensor())


def put_into_branch(model: ModelProto) -> None:
    branch = model.graph.node.add(op_type="If").attribute.add(name="then_branch").g
    branch.sparse_initializer.append(make_sparse_tensor())


def put_into_function(model: ModelProto) -> None:
    model.functions.add(name="f").node.add(op_type="Constant").attribute.add(
        name="sparse_value"
    ).sparse_tensor.CopyFrom(make_sparse_tensor())


@pytest.mark.parametrize("put", [put_into_graph, put_into_attribute, put_into_list, put_into_branch, put_into_function])
def test_sparse_tensors_are_in_the_renamed_file_wherever_they_are(
    tmp_path: Path, put: Callable[[ModelProto], None]
) -> None:
    import onnx

    model = onnx.ModelProto()
    put(model)
    (tmp_path / "model.onnx").write_bytes(model.SerializeToString())
    rename_external_files(tmp_path / "model.onnx", tmp_path / "other.onnx", {"model.onnx.data": "model.onnx.l4.data"})
    renamed = (tmp_path / "other.onnx").read_bytes()
    assert (renamed.count(b"model.onnx.data"), renamed.count(b"model.onnx.l4.data")) == (0, 2)
