"""Counts the work of an ONNX graph: `python -m packc.measure.work_child` reads a WorkRequest and writes its answer.

Counted are matrix products, convolutions and attention; other operators are left out, so that the count is the least
that has to be done.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

Shape = tuple[int, ...]


def count_graph(model: Path, inputs: Mapping[str, Shape]) -> tuple[float, float]:
    """(flops, weights) of one call with inputs of these shapes. Raises ValueError where a shape cannot be told."""
    import onnx

    proto = onnx.load(model, load_external_data=False)
    fix_inputs(proto.graph, inputs)
    proto = onnx.shape_inference.infer_shapes(proto, data_prop=True)
    shapes = read_shapes(proto.graph)
    constants = {tensor.name for tensor in proto.graph.initializer}
    flops, weights = 0.0, dict[str, int]()
    for node in proto.graph.node:
        if node.op_type == "Constant" or (node.input and all(not n or n in constants for n in node.input)):
            constants.update(node.output)
        operands = COUNTED.get(node.op_type)
        if operands is None:
            continue
        flops += operands(node, [_known(shapes, name, node) for name in node.input if name], shapes)
        weights |= {name: math.prod(shapes[name]) for name in node.input[:2] if name in constants}
    return flops, float(sum(weights.values()))


def fix_inputs(graph: Any, inputs: Mapping[str, Shape]) -> None:
    """Gives the graph's inputs these shapes, and forgets those of what follows from them."""
    for value in graph.input:
        if value.name in inputs:
            dims = value.type.tensor_type.shape.dim
            for dim, size in zip(dims, inputs[value.name], strict=True):
                dim.dim_value = size
    del graph.value_info[:]
    for value in graph.output:
        value.type.tensor_type.ClearField("shape")


def read_shapes(graph: Any) -> dict[str, Shape]:
    """Of every tensor whose shape is known in full."""
    shapes = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    for value in [*graph.input, *graph.value_info, *graph.output]:
        tensor = value.type.tensor_type
        if tensor.HasField("shape") and all(dim.HasField("dim_value") for dim in tensor.shape.dim):
            shapes[value.name] = tuple(dim.dim_value for dim in tensor.shape.dim)
    return shapes


def _known(shapes: Mapping[str, Shape], name: str, node: Any) -> Shape:
    if name not in shapes:
        raise ValueError(f"the shape of {name}, an input of {node.op_type} {node.name}, cannot be told")
    return shapes[name]


def _count_matmul(node: Any, operands: list[Shape], shapes: Mapping[str, Shape]) -> float:
    return 2.0 * math.prod(_known(shapes, node.output[0], node)) * operands[0][-1]


def _count_gemm(node: Any, operands: list[Shape], shapes: Mapping[str, Shape]) -> float:
    transposed = any(attribute.name == "transA" and attribute.i for attribute in node.attribute)
    return 2.0 * math.prod(_known(shapes, node.output[0], node)) * operands[0][0 if transposed else -1]


def _count_conv(node: Any, operands: list[Shape], shapes: Mapping[str, Shape]) -> float:
    """Each element of the output takes one filter [channels of its group, *kernel]."""
    return 2.0 * math.prod(_known(shapes, node.output[0], node)) * math.prod(operands[1][1:])


def _count_conv_transpose(node: Any, operands: list[Shape], shapes: Mapping[str, Shape]) -> float:
    """Each element of the input goes through one filter."""
    return 2.0 * math.prod(operands[0]) * math.prod(operands[1][1:])


def _count_attention(node: Any, operands: list[Shape], shapes: Mapping[str, Shape]) -> float:
    """Queries x keys, then the weights x values: [batch, heads, length, width] or [batch, length, hidden]."""
    query, key, value = operands[:3]
    scores = math.prod(query) * key[-2]
    return 2.0 * (scores + scores * value[-1] / key[-1])


COUNTED = {
    "MatMul": _count_matmul,
    "Gemm": _count_gemm,
    "Conv": _count_conv,
    "ConvTranspose": _count_conv_transpose,
    "Attention": _count_attention,
}


def main() -> None:
    request = json.load(sys.stdin)
    answers = []
    for shapes in request["shapes"]:
        flops, weights = count_graph(Path(request["model"]), {name: tuple(shape) for name, shape in shapes.items()})
        answers.append({"flops": flops, "weights": weights})
    json.dump(answers, sys.stdout)


if __name__ == "__main__":
    main()
