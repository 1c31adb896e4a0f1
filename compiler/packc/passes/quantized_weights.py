"""Constant weights in int8 and their scales, and how they take the place of fp32 ones in a graph."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import onnx_ir as ir

LARGEST = 127
"""Weights are symmetric: [-127, 127], zero point 0."""


def quantize_symmetric(
    weights: npt.NDArray[np.float32], axis: int | None, largest: int = LARGEST
) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.float32]]:
    """Weights in [-largest, largest] and their scale, taken over `axis` (kept, of size 1) or over all (a scalar)."""
    magnitude = np.abs(weights).max(axis=axis, keepdims=axis is not None)
    scale = np.where(magnitude > 0, magnitude / largest, 1.0).astype(np.float32)
    return np.clip(np.rint(weights / scale), -largest, largest).astype(np.int8), scale


def find_lookups(model: ir.Model) -> list[ir.Node]:
    """Gather nodes that take rows of constant fp32 tables."""
    import onnx_ir as ir

    return [
        node
        for node in model.graph
        if node.op_type == "Gather"
        and node.domain == ""
        and node.attributes.get_int("axis", 0) == 0
        and (table := node.inputs[0]) is not None
        and table.const_value is not None
        and table.const_value.dtype == ir.DataType.FLOAT
        and len(table.const_value.shape) == 2
    ]


def quantize_tables(model: ir.Model) -> None:
    """The tables of `find_lookups` -> int8 with a scale a row, in place."""
    for node in find_lookups(model):
        _quantize_table(model.graph, node)


def _quantize_table(graph: ir.Graph, node: ir.Node) -> None:
    """Gather of fp32 rows -> Gather of int8 rows and of their scales, multiplied."""
    import onnx_ir as ir

    table, indices = node.inputs
    assert table is not None
    assert table.const_value is not None
    rows, scales = quantize_symmetric(table.const_value.numpy(), axis=1)
    tape = ir.tape.Tape()
    row = tape.op("Gather", [add_weights(graph, f"{node.name}_rows", rows), indices])
    scale = tape.op("Gather", [add_weights(graph, f"{node.name}_scales", scales), indices])
    result = tape.op("Mul", [tape.op("Cast", [row], attributes={"to": ir.DataType.FLOAT}), scale])
    replace_node(graph, node, tape, result)


def replace_node(graph: ir.Graph, node: ir.Node, tape: ir.tape.Tape, result: ir.Value) -> None:
    """Puts the nodes on `tape` in the place of `node`, `result` in that of its output; names follow from `node`'s."""
    import onnx_ir as ir

    old = node.outputs[0]
    result.shape, result.type = old.shape, old.type
    for index, new in enumerate(tape.nodes):
        new.name = f"{node.name}_{new.op_type.lower()}_{index}"
        for value in new.outputs:
            value.name = value.name or new.name
    ir.convenience.replace_nodes_and_values(graph, node, [node], tape.nodes, [old], [result])


def add_weights(graph: ir.Graph, name: str, array: npt.NDArray[np.generic]) -> ir.Value:
    """`array` as an initializer of the graph."""
    import onnx_ir as ir

    tensor = ir.tensor(array, name=name)
    value = ir.Value(name=name, const_value=tensor, shape=ir.Shape(array.shape), type=ir.TensorType(tensor.dtype))
    graph.register_initializer(value)
    return value


def drop_unused_weights(graph: ir.Graph) -> None:
    """Removes the initializers that nothing reads any more."""
    for name, value in list(graph.initializers.items()):
        if not value.uses() and not value.is_graph_output():
            del graph.initializers[name]
