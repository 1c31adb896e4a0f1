"""The child process that measures sensitivity: `python -m packc.passes.sensitivity_worker request.json`.

One session over a graph with a flag for each layer (packc.passes.switch_layers) answers every sample once as it is and
once for each layer in int8. Errors that a layer makes at its own output are no guide: what matters is how much of them
reaches the answer (docs/adr/0008-mixed-precision-by-sensitivity.md).
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from pydantic import TypeAdapter

from packc.child import answer_request, die_with_parent
from packc.passes.graph_pass import PassError
from packc.passes.layer_roles import find_roles
from packc.passes.linear_layers import LinearLayer, find_linear_layers, split_gemms
from packc.passes.measure_sensitivity import SensitivityRequest
from packc.passes.model_file import MODEL_FILE, load_model, save_model
from packc.passes.sensitivity import LayerSensitivity, Sensitivity
from packc.passes.switch_layers import switch_layers
from packc.samples import Sample, iter_samples

if TYPE_CHECKING:
    import onnx_ir as ir

MOST_SAMPLES = 16
LEAST_SAMPLES = 4
ENOUGH_S = 20.0
"""After this long no further sample is begun, once LEAST_SAMPLES are done."""

Answer = Callable[[Sample, int | None], tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]]
"""Sample, and which layer is int8 (None: none) -> the answer, and how many rows each layer multiplied."""


def measure(request: SensitivityRequest) -> Sensitivity:
    """Runs the samples through the graph of the request. Raises PackError."""
    model = load_model(request.model)
    split_gemms(model)
    layers = find_linear_layers(model)
    if not layers:
        raise PassError("the graph has no linear layer")
    roles = find_roles(layers)
    with TemporaryDirectory(dir=request.result.parent) as scratch:
        answer = open_session(model, layers, request, Path(scratch, MODEL_FILE))
        squares, rows, samples = compare_answers(answer, iter_samples(request.calibration), len(layers))
    costs = [int(count) * layer.inputs * layer.outputs for count, layer in zip(rows, layers, strict=True)]
    found = tuple(
        LayerSensitivity(str(layer.node.name), role.kind, role.block, float(np.sqrt(square)), cost / max(sum(costs), 1))
        for layer, role, square, cost in zip(layers, roles, squares, costs, strict=True)
    )
    return Sensitivity(found, samples)


def open_session(model: ir.Model, layers: Sequence[LinearLayer], request: SensitivityRequest, path: Path) -> Answer:
    """Puts the layers of `model` behind flags and loads it."""
    import onnxruntime as ort

    counts = _count_rows(model, layers)
    flags = switch_layers(model, layers, request.options)
    save_model(model, path)
    options = ort.SessionOptions()
    options.intra_op_num_threads = request.threads
    options.log_severity_level = 3
    session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

    def answer(sample: Sample, int8: int | None) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
        chosen = {flag: np.array(index == int8) for index, flag in enumerate(flags)}
        result, *sizes = session.run([request.answer, *counts], {**sample, **chosen})
        rows = [int(size) // layer.inputs for size, layer in zip(sizes, layers, strict=True)]
        return np.asarray(result, np.float32), np.array(rows)

    return answer


def compare_answers(
    answer: Answer, samples: Iterable[Mapping[str, npt.NDArray[np.generic]]], layers: int
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64], int]:
    """Mean squared relative error of each layer, the rows that each multiplied, and how many samples there were."""
    squares, rows = np.zeros(layers), np.zeros(layers, np.int64)
    count, start_s = 0, time.monotonic()
    for sample in samples:
        expected, multiplied = answer(sample, None)
        norm = float(np.linalg.norm(expected)) or 1.0
        for layer in range(layers):
            squares[layer] += (np.linalg.norm(answer(sample, layer)[0] - expected) / norm) ** 2
        rows += multiplied
        count += 1
        if count == MOST_SAMPLES or (count >= LEAST_SAMPLES and time.monotonic() - start_s > ENOUGH_S):
            break
    if not count:
        raise PassError("there are no calibration samples")
    if not np.isfinite(squares).all():
        raise PassError("the answers to the calibration samples are not finite")
    return squares / count, rows, count


def _count_rows(model: ir.Model, layers: Sequence[LinearLayer]) -> list[str]:
    """Adds the size of each layer's activation as an output of the graph; their names."""
    import onnx_ir as ir

    names: dict[ir.Value, str] = {}
    for layer in layers:
        if layer.activation not in names:
            node = ir.node("Size", [layer.activation], name=f"{layer.node.name}_count")
            node.outputs[0].name = f"{layer.node.name}_size"
            node.outputs[0].type, node.outputs[0].shape = ir.TensorType(ir.DataType.INT64), ir.Shape([])
            model.graph.insert_before(layer.node, node)
            model.graph.outputs.append(node.outputs[0])
            names[layer.activation] = str(node.outputs[0].name)
    return [names[layer.activation] for layer in layers]


def main(path: Path) -> int:
    """Measures what the request at `path` asks; 0 when the result is written, 1 when `failure.txt` tells why not."""
    return answer_request(path, lambda: _measure(path))


def _measure(path: Path) -> None:
    request = TypeAdapter(SensitivityRequest).validate_json(path.read_bytes())
    request.result.write_bytes(TypeAdapter(Sensitivity).dump_json(measure(request)))


if __name__ == "__main__":
    die_with_parent()
    sys.exit(main(Path(sys.argv[1])))
