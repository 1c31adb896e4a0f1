"""Counts the work of an ONNX graph: `python -m packc.measure.work_child` reads a WorkRequest and writes its answer.

Counted are matrix products, convolutions and attention; other operators are left out. Shapes are those of a real call:
what a graph computes from its inputs' values, inference of shapes cannot tell.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from packc.child import die_with_parent
from packc.samples import Sample, iter_samples

Shape = tuple[int, ...]

LOG_ERRORS_ONLY = 3
EXTERNAL_FOLDER = "session.model_external_initializers_file_folder_path"


def count_graph(model: Path, sample: Sample) -> tuple[float, float, float]:
    """(flops, weights, window_flops) of one call with this input; packc.measure.work.Work says what they are."""
    import onnx

    graph = onnx.load(model, load_external_data=False)
    nodes = [node for node in graph.graph.node if node.op_type in COUNTED]
    constants = find_constants(graph.graph)
    shapes = read_shapes(
        graph, {name for node in nodes for name in [*node.input, node.output[0]] if name}, model, sample
    )
    flops, window_flops, weights = 0.0, 0.0, dict[str, int]()
    for node in nodes:
        counted = COUNTED[node.op_type](node, [shapes[name] for name in node.input if name], shapes)
        flops += counted
        if node.op_type in CONVOLUTIONS and math.prod(shapes[node.input[1]][2:]) > 1:
            window_flops += counted
        weights |= {name: math.prod(shapes[name]) for name in node.input[:2] if name in constants}
    return flops, float(sum(weights.values())), window_flops


def find_constants(graph: Any) -> set[str]:
    """Tensors that do not depend on the inputs."""
    constants = {tensor.name for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant" or (node.input and all(not n or n in constants for n in node.input)):
            constants.update(node.output)
    return constants


def read_shapes(model: Any, names: set[str], path: Path, sample: Sample) -> dict[str, Shape]:
    """The shapes that the tensors `names` have in a call of the graph, whose file lies at `path`."""
    import onnxruntime
    from onnx import TensorProto, helper

    asked = sorted(names)
    results = [f"shape_of_{index}" for index in range(len(asked))]
    del model.graph.output[:]
    for name, result in zip(asked, results, strict=True):
        model.graph.node.append(helper.make_node("Shape", [name], [result]))
        model.graph.output.append(helper.make_tensor_value_info(result, TensorProto.INT64, [None]))
    settings = onnxruntime.SessionOptions()
    settings.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    settings.log_severity_level = LOG_ERRORS_ONLY
    settings.add_session_config_entry(EXTERNAL_FOLDER, str(path.parent))
    session = onnxruntime.InferenceSession(model.SerializeToString(), settings, providers=["CPUExecutionProvider"])
    found = session.run(results, dict(sample)) if results else []
    return {name: tuple(int(size) for size in shape) for name, shape in zip(asked, found, strict=True)}


def _count_matmul(node: Any, operands: list[Shape], shapes: Mapping[str, Shape]) -> float:
    return 2.0 * math.prod(shapes[node.output[0]]) * operands[0][-1]


def _count_gemm(node: Any, operands: list[Shape], shapes: Mapping[str, Shape]) -> float:
    transposed = any(attribute.name == "transA" and attribute.i for attribute in node.attribute)
    return 2.0 * math.prod(shapes[node.output[0]]) * operands[0][0 if transposed else -1]


def _count_conv(node: Any, operands: list[Shape], shapes: Mapping[str, Shape]) -> float:
    """Each element of the output takes one filter [channels of its group, *kernel]."""
    return 2.0 * math.prod(shapes[node.output[0]]) * math.prod(operands[1][1:])


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


CONVOLUTIONS = ("Conv", "ConvTranspose")


def main() -> None:
    request = json.load(sys.stdin)
    samples = iter_samples(Path(request["samples"]), range(request["cases"]))
    answers = [count_graph(Path(request["model"]), sample) for sample in samples]
    names = ("flops", "weights", "window_flops")
    json.dump([dict(zip(names, answer, strict=True)) for answer in answers], sys.stdout)


if __name__ == "__main__":
    die_with_parent()
    main()
