"""Looks for the best rates of this machine: `python -m packc.measure.peak_child` reads a PeakRequest, writes Peaks.

Rates are the best of many short calls: what disturbs a call only makes it slower. Thread counts of BLAS libraries come
from the environment.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from packc.child import die_with_parent
from packc.measure.statistics import NOISE_LIMIT, relative_spread

Call = Callable[[], object]
Maker = Callable[[int, int, int, int], Call]

SIZES = ((64, 768, 768), (256, 768, 768), (256, 1024, 1024))
"""(rows, inner, columns): products that fit the caches, and last less than a scheduler's tick."""
READ_MIB = (4, 16, 64, 256)
SECONDS = 0.12
"""For each product and each buffer in a pass."""
PASSES = 2
"""So that a disturbance of a second spoils no rate, and a longer one shows."""
COLUMNS = 4096


def find_rates(precision: str, threads: int) -> Iterator[tuple[str, float]]:
    """(library, GFLOP/s) of each library that multiplies in `precision` here."""
    for library, make in MAKERS.get(precision, ()):
        try:
            calls = [
                (2.0 * rows * inner * columns, make(rows, inner, columns, threads)) for rows, inner, columns in SIZES
            ]
        except Exception:  # not installed, or it has no kernel for this on this CPU
            continue
        yield library, max(flops / find_best_s(call) / 1e9 for flops, call in calls)


def find_reads() -> Iterator[tuple[float, float]]:
    """(MiB, GB/s) of reading a buffer in a product with a vector, which uses every element once."""
    vector = np.ones(COLUMNS, np.float32)
    for mib in READ_MIB:
        matrix = np.ones((mib * 2**20 // 4 // COLUMNS, COLUMNS), np.float32)
        yield float(mib), mib * 2**20 / find_best_s(lambda matrix=matrix: matrix @ vector) / 1e9  # type: ignore[misc]


def find_best_s(call: Call, seconds: float = SECONDS) -> float:
    """The shortest of the calls that fit into `seconds`, at least three, after one to warm up."""
    call()
    best_s, calls, end_s = float("inf"), 0, time.perf_counter() + seconds
    while calls < 3 or time.perf_counter() < end_s:
        start_s = time.perf_counter()
        call()
        best_s, calls = min(best_s, time.perf_counter() - start_s), calls + 1
    return best_s


def _make_numpy(rows: int, inner: int, columns: int, threads: int) -> Call:
    left, right = _floats(rows, inner), _floats(inner, columns)
    return lambda: left @ right


def _make_onnxruntime(rows: int, inner: int, columns: int, threads: int) -> Call:
    return _make_session("MatMul", _floats(rows, inner), _floats(inner, columns), np.float32, threads)


def _make_onnxruntime_int8(rows: int, inner: int, columns: int, threads: int) -> Call:
    """Unsigned activations with signed weights of 7 bits, which no CPU saturates on."""
    rng = np.random.default_rng(0)
    left = rng.integers(0, 255, (rows, inner)).astype(np.uint8)
    right = rng.integers(-63, 63, (inner, columns)).astype(np.int8)
    return _make_session("MatMulInteger", left, right, np.int32, threads)


def _make_session(
    operator: str, left: npt.NDArray[Any], right: npt.NDArray[Any], result: type[np.generic], threads: int
) -> Call:
    import onnx
    import onnxruntime
    from onnx import helper

    of = helper.np_dtype_to_tensor_dtype
    graph = helper.make_graph(
        [helper.make_node(operator, ["left", "right"], ["product"])],
        "peak",
        [helper.make_tensor_value_info("left", of(left.dtype), left.shape)],
        [helper.make_tensor_value_info("product", of(np.dtype(result)), (left.shape[0], right.shape[1]))],
        [onnx.numpy_helper.from_array(right, "right")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(model.SerializeToString(), settings, providers=["CPUExecutionProvider"])
    return lambda: session.run(None, {"left": left})


def _make_openvino(rows: int, inner: int, columns: int, threads: int) -> Call:
    return _make_request(rows, inner, columns, threads, "f32")


def _make_openvino_bf16(rows: int, inner: int, columns: int, threads: int) -> Call:
    return _make_request(rows, inner, columns, threads, "bf16")


def _make_request(rows: int, inner: int, columns: int, threads: int, precision: str) -> Call:
    openvino = _import_openvino()
    opset13 = openvino.opset13
    left = opset13.parameter([rows, inner], np.float32)
    product = opset13.matmul(left, opset13.constant(_floats(inner, columns)), False, False)
    return _compile_request(openvino.Model([product], [left]), _floats(rows, inner), threads, precision)


def _compile_request(model: Any, inputs: npt.NDArray[Any], threads: int, precision: str) -> Call:
    openvino = _import_openvino()
    options = {
        "INFERENCE_NUM_THREADS": threads,
        "INFERENCE_PRECISION_HINT": precision,
        "PERFORMANCE_HINT": "LATENCY",
    }
    request = openvino.Core().compile_model(model, "CPU", options).create_infer_request()
    request.set_input_tensor(openvino.Tensor(inputs))
    return lambda: request.infer()


def _make_openvino_int8(rows: int, inner: int, columns: int, threads: int) -> Call:
    """A product as NNCF leaves it: activations quantized to 8 bits before, weights scaled after."""
    openvino = _import_openvino()
    opset13 = openvino.opset13
    left = opset13.parameter([rows, inner], np.float32)
    low, high = opset13.constant(np.float32(0.0)), opset13.constant(np.float32(1.0))
    weights = np.random.default_rng(0).integers(-63, 63, (inner, columns)).astype(np.int8)
    scaled = opset13.multiply(opset13.convert(opset13.constant(weights), "f32"), opset13.constant(np.float32(0.01)))
    product = opset13.matmul(opset13.fake_quantize(left, low, high, low, high, 256), scaled, False, False)
    return _compile_request(openvino.Model([product], [left]), _floats(rows, inner), threads, "f32")


def _import_openvino() -> Any:
    """openvino, which else reports that it was imported."""
    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
    import openvino

    return openvino


def _floats(*shape: int) -> npt.NDArray[np.float32]:
    return np.random.default_rng(0).random(shape, np.float32)


MAKERS: dict[str, tuple[tuple[str, Maker], ...]] = {
    "fp32": (("numpy", _make_numpy), ("onnxruntime", _make_onnxruntime), ("openvino", _make_openvino)),
    "bf16": (("openvino", _make_openvino_bf16),),
    "int8": (("onnxruntime", _make_onnxruntime_int8), ("openvino", _make_openvino_int8)),
}


def find_peaks(precisions: list[str], threads: int) -> dict[str, Any]:
    """The fields of packc.measure.peak.Peaks."""
    gemm: dict[str, list[tuple[float, str]]] = {}
    reads: dict[float, list[float]] = {}
    for _ in range(PASSES):
        for precision in precisions:
            if rates := [(rate, library) for library, rate in find_rates(precision, threads)]:
                gemm.setdefault(precision, []).append(max(rates))
        for mib, rate in find_reads():
            reads.setdefault(mib, []).append(rate)
    best = {precision: max(found) for precision, found in gemm.items()}
    readings = [*([rate for rate, _ in found] for found in gemm.values()), *reads.values()]
    return {
        "gemm": [{"precision": p, "gflop_per_s": rate, "library": library} for p, (rate, library) in best.items()],
        "reads": [{"mib": mib, "gb_per_s": max(found)} for mib, found in reads.items()],
        "is_steady": all(relative_spread(found) <= NOISE_LIMIT for found in readings),
        "threads": threads,
        "source": "measured here",
    }


def main() -> None:
    request = json.load(sys.stdin)
    json.dump(find_peaks(request["precisions"], request["threads"]), sys.stdout)


if __name__ == "__main__":
    die_with_parent()
    main()
