"""Rows of TensorRT in fp16: pack's candidate, and the exported graph as TensorRT's own tool would build it.

Both run as CUDA graphs, in a child process of the Python that has TensorRT (PACK_TENSORRT_PYTHON). Both have an engine
for each shape: pack's has the profiles of a workload of that shape, the peer's takes that shape alone. Engines take a
minute or more; they are built one by one, before anything is timed.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from packc.candidate import OptionValue, PassStep
from packc.child import foreign_environment
from packc.runtimes.compile import CompileRequest
from packc.runtimes.tensorrt import BUILD, LOWERED, SUMS, TensorRt
from packc.runtimes.tensorrt_compile import PLAN, compile_model
from packc.runtimes.tensorrt_python import TensorRtPython, find_tensorrt
from packc.spec.optimize import TensorRtSection
from packc.target import Target
from support.gpu_models import Arrays, GpuModel
from support.gpu_onnxruntime import Way, lower_graph
from support.gpu_rows import LEAST_CALLS, LEAST_S, WARMUP, Failure, Row, explain, log, measure_error

CHILD = Path(__file__).with_name("gpu_tensorrt_child.py")
GRAPH: Mapping[str, OptionValue] = {"graph": True}
Wanted = Literal["all", "peer", "none"]
"""Both kinds of rows, or the exported graph's alone."""


@dataclass(frozen=True, slots=True)
class Engine:
    """An engine that is made or being made, and the number of the model's shape that it is for."""

    name: str
    is_pack: bool
    shape: int
    plan: Future[Path | Failure]


@dataclass(frozen=True, slots=True)
class TensorRtRows:
    """Engines, and the child that runs them; neither where there is no TensorRT."""

    there: TensorRtPython | None
    ways: tuple[Engine, ...]
    child: subprocess.Popen[str] | None

    def wait(self) -> None:
        """Until all engines are built or have failed, as builders disturb whatever else is timed."""
        for way in self.ways:
            way.plan.result()

    def list_rows(self, shape: int, inputs: Arrays, expected: np.ndarray) -> list[Row | Failure]:
        """Those of the model's shape of that number, warm."""
        return [self._warm(way, inputs, expected) for way in self.ways if way.shape == shape]

    def close(self) -> None:
        """Ends the child, which gives its GPU memory back."""
        if self.child is not None:
            assert self.child.stdin is not None
            self.child.stdin.close()
            self.child.wait()

    def _warm(self, way: Engine, inputs: Arrays, expected: np.ndarray) -> Row | Failure:
        plan = way.plan.result()
        if isinstance(plan, Failure):
            return plan
        with tempfile.TemporaryDirectory(prefix="pack-gpu-") as folder:
            given, got = Path(folder, "inputs.npz"), Path(folder, "answers.npz")
            np.savez(given, **inputs)
            request = {"plan": str(plan), "options": dict(GRAPH), "inputs": str(given), "answers": str(got)}
            try:
                row = self._ask({"do": "open", **request, "warmup": WARMUP})["row"]
            except (RuntimeError, OSError) as error:  # its own, or that of a child which has ended
                return explain(way.name, error)
            error_of_answer = measure_error(np.load(got)["answer"], expected)
        least = {"least_calls": LEAST_CALLS, "least_s": LEAST_S}
        return Row(
            way.name,
            way.is_pack,
            "fp16",
            lambda: self._ask({"do": "time", "row": row, "what": "call", **least})["ms"],
            lambda: self._ask({"do": "time", "row": row, "what": "work", **least})["ms"],
            error_of_answer,
            clock=lambda ask: float(ask()),
        )

    def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        """The child's answer. Raises RuntimeError with its error."""
        assert self.child is not None
        assert self.child.stdin is not None
        assert self.child.stdout is not None
        self.child.stdin.write(json.dumps(request) + "\n")
        self.child.stdin.flush()
        line = self.child.stdout.readline()
        if not line:
            raise RuntimeError(f"TensorRT's process ended with status {self.child.wait()}")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise RuntimeError(answer["error"])
        return answer


def start_tensorrt(model: GpuModel, target: Target, folder: Path, wanted: Wanted) -> TensorRtRows:
    """Begins to build engines of the graph EXPORTED in `folder`; none where there is no TensorRT, or none is wanted."""
    lookup = find_tensorrt()
    if wanted == "none" or lookup.found is None:
        log(f"{model.name}: TensorRT is left out{'' if wanted == 'none' else f': {lookup.problem}'}")
        return TensorRtRows(None, (), None)
    there = lookup.found
    pool = ThreadPoolExecutor(1)  # builders choose kernels by timing them, each alone on the GPU

    def start(way: Way, options: Mapping[str, OptionValue], shape: int, out: str) -> Engine:
        step = PassStep(BUILD, options)
        plan = pool.submit(_build, way, step, model, folder, folder / out)
        return Engine(way.name, way.is_pack, shape, plan)

    runtime = TensorRt()
    # the precision that TensorRT is known for; the others have their rows with ONNX Runtime
    offered, _ = runtime.candidates(model.describe(), target, ("fp16",))
    ways = []
    for number, shape in enumerate(model.shapes):
        for candidate in offered if wanted == "all" else ():
            build = runtime.fit_shapes(candidate, model.list_ranges(*shape), TensorRtSection()).build
            assert build is not None, "the GPU is here"
            way = Way(candidate.id, "fp16", candidate.passes, {})
            ways.append(start(way, build.options, number, f"{candidate.id}-{number}"))
        profile = " ".join(f"{name}={'x'.join(map(str, a.shape))}" for name, a in model.draw(*shape).items())
        options: Mapping[str, OptionValue] = {"precision": "fp16", "profiles": (profile,)}
        way = Way(f"TensorRT {there.version}, fp16, as exported", "fp16", list_passes(there), {}, is_pack=False)
        ways.append(start(way, options, number, f"exported-{number}"))
    pool.shutdown(wait=False)
    child = subprocess.Popen(
        [there.python or sys.executable, CHILD, runtime.engine],
        env=foreign_environment(os.environ) if there.python else None,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    return TensorRtRows(there, tuple(ways), child)


def list_passes(there: TensorRtPython) -> tuple[PassStep, ...]:
    """What has to be done to an exported graph before TensorRT builds it in fp16: an opset that the weakly typed one
    reads, whose builder has a flag for fp16; casts, where the graph alone says it."""
    return (PassStep("cast_fp16"),) if there.is_strongly_typed else (*LOWERED, *SUMS)


def _build(way: Way, step: PassStep, model: GpuModel, folder: Path, out: Path) -> Path | Failure:
    """An engine of the exported graph after the passes of `way`, made by pack's own compiler."""
    graph = lower_graph(folder, out, way, model)
    if isinstance(graph, Failure):
        return graph
    started = time.perf_counter()
    (out / "engine").mkdir()
    request = CompileRequest("", graph, step, model.geometry, None, out / "engine", cache=folder / "cache")
    try:
        remarks = compile_model(request)
    except Exception as error:
        return explain(way.name, error)
    log(f"{way.name}, {step.options['profiles']}: {time.perf_counter() - started:.0f} s; {'; '.join(remarks)}")
    return out / "engine" / PLAN
