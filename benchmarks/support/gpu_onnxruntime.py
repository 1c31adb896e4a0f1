"""Rows of ONNX Runtime's CUDA provider: plain, and pack's candidates for it, lowered by its passes."""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from packc.candidate import OptionValue, PassStep
from packc.child import run_child
from packc.passes.model_file import MODEL_FILE
from packc.passes.request import Request, read_reports, write_request
from packc.runtimes.onnxruntime_cuda import OnnxRuntimeCuda
from packc.target import Target
from packc.tensors import Precision
from support.gpu_models import Arrays, GpuModel
from support.gpu_rows import WARMUP, Failure, Row, explain, load_engine, log, measure_error

BASELINE = "ONNX Runtime CUDA, as exported, its own options"
"""Plain `InferenceSession(...).run(...)`: products in tf32, which is its default, and no option of pack's."""
FP16_PEER = "ONNX Runtime CUDA, fp16, as exported"
"""The exported graph in fp16 and nothing else: what ONNX Runtime makes of it by itself."""
EXPORTED = "exported.onnx"
LOWERING_LIMIT_S = 300.0


@dataclass(frozen=True, slots=True)
class Way:
    """The exported graph after some passes, and how it is run."""

    name: str
    precision: Precision
    passes: tuple[PassStep, ...]
    session: dict[str, OptionValue]
    is_pack: bool = True


@dataclass(frozen=True, slots=True)
class OnnxRuntimeRows:
    """Sessions that are open, to be timed at one shape after the other."""

    engine: ModuleType
    plain: Any
    sessions: list[tuple[Way, Any]]
    failures: list[Failure]

    def list_rows(self, inputs: Arrays, expected: np.ndarray) -> list[Row | Failure]:
        """All of them, warm at the shape of `inputs`."""
        rows = [self._warm(way, session, inputs, expected) for way, session in self.sessions]
        return [_time_plain(self.plain, inputs, expected), *rows, *self.failures]

    def _warm(self, way: Way, session: Any, inputs: Arrays, expected: np.ndarray) -> Row | Failure:
        try:
            for _ in range(WARMUP):
                answer = self.engine.run(session, inputs)["answer"]
        except Exception as error:
            return explain(way.name, error)
        bound = next(found for found in session.bound.values() if _fits(found, inputs))
        return Row(
            way.name,
            way.is_pack,
            way.precision,
            lambda: self.engine.run(session, inputs),
            lambda: session.model.run_with_iobinding(bound.binding, bound.options),
            measure_error(answer, expected),
        )


def open_onnxruntime(
    model: GpuModel, target: Target, precisions: tuple[Precision, ...], folder: Path
) -> OnnxRuntimeRows:
    """Every candidate for `target`, of the graph EXPORTED in `folder`, with that graph beside them."""
    offered, _ = OnnxRuntimeCuda().candidates(model.describe(), target, precisions)
    ways = [Way(c.id, c.precision, c.passes, dict(c.session)) for c in offered]
    ways.append(Way(FP16_PEER, "fp16", (PassStep("cast_fp16"),), {}, is_pack=False))
    started = time.perf_counter()
    with ThreadPoolExecutor(max(1, min(8, (os.cpu_count() or 1) // 2))) as pool:
        made = list(
            pool.map(lambda pair: lower_graph(folder, folder / f"way{pair[0]}", pair[1], model), enumerate(ways))
        )
    log(f"{model.name}: lowered in {time.perf_counter() - started:.0f} s")
    engine = load_engine(OnnxRuntimeCuda().engine)
    sessions, failures = [], [found for found in made if isinstance(found, Failure)]
    for way, graph in zip(ways, made, strict=True):
        if isinstance(graph, Path):
            try:
                sessions.append((way, engine.load(str(graph), way.session, 1)))
            except Exception as error:
                failures.append(explain(way.name, error))
    return OnnxRuntimeRows(engine, _open_plain(folder / EXPORTED), sessions, failures)


def lower_graph(folder: Path, out: Path, way: Way, model: GpuModel) -> Path | Failure:
    """The exported graph in `folder` after the passes of `way`, in a child process."""
    exported = folder / EXPORTED
    if not way.passes:
        return exported
    out.mkdir()
    file = out / "request.json"
    write_request(file, Request(exported, way.passes, model.geometry, folder, out, (len(way.passes),)))
    if failure := run_child("packc.passes.worker", file, "lowering the graph", LOWERING_LIMIT_S):
        return Failure(way.name, failure)
    for report in read_reports(out / str(len(way.passes))):
        for warning in report.warnings:
            log(f"{way.name}: {warning}")
    return out / str(len(way.passes)) / MODEL_FILE


def _open_plain(graph: Path) -> Any:
    """The session that everybody would write; the engine has loaded CUDA's libraries before."""
    import onnxruntime

    return onnxruntime.InferenceSession(graph, providers=["CUDAExecutionProvider", "CPUExecutionProvider"])


def _time_plain(session: Any, inputs: Arrays, expected: np.ndarray) -> Row:
    """Its `work` has inputs on the device, and outputs that the provider allocates there."""
    import onnxruntime

    binding = session.io_binding()
    for name, array in inputs.items():
        binding.bind_ortvalue_input(name, onnxruntime.OrtValue.ortvalue_from_numpy(array, "cuda", 0))
    names = [output.name for output in session.get_outputs()]
    for name in names:
        binding.bind_output(name, "cuda", 0)
    for _ in range(WARMUP):
        answers = dict(zip(names, session.run(names, inputs), strict=True))
        session.run_with_iobinding(binding)
    return Row(
        BASELINE,
        False,
        "tf32",
        lambda: session.run(names, inputs),
        lambda: session.run_with_iobinding(binding),
        measure_error(answers["answer"], expected),
    )


def _fits(bound: Any, inputs: Arrays) -> bool:
    return all(tuple(bound.inputs[name].shape()) == array.shape for name, array in inputs.items())
