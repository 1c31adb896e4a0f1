"""Rows of pack's torch-cuda candidates: compiled by its compiler, each in its own process, and run by its engine.

python -m support.gpu_aotinductor MODEL OPTIONS WEIGHTS OUT     compiles one of them
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch

from packc.candidate import Candidate
from packc.runtimes.aotinductor_cuda import AotInductorCuda
from packc.runtimes.aotinductor_package import MODEL_FILE
from packc.spec.model import TensorRtSection
from packc.target import Target
from packc.tensors import Precision
from support.gpu_models import Arrays, GpuModel
from support.gpu_rows import WARMUP, Failure, Row, explain, load_engine, log, measure_error

BENCHMARKS = Path(__file__).resolve().parents[1]
AT_ONCE = max(2, (os.cpu_count() or 1) // 2)
"""Compilers side by side; each is one process for most of its time."""
COMPILE_LIMIT_S = 600.0


@dataclass(frozen=True, slots=True)
class AotInductorRows:
    """Packages that are made or being made for each of some shapes, to be timed at one after the other."""

    engine: ModuleType
    made: tuple[tuple[tuple[Candidate, Future[Path | Failure]], ...], ...]
    """One tuple a shape."""
    refused: tuple[Failure, ...]

    def list_rows(self, shape: int, inputs: Arrays, expected: np.ndarray) -> list[Row | Failure]:
        """All of that shape's, warm at it: that of `inputs`.

        Each is loaded anew and recorded before the next is loaded: whether products are in tf32 is a setting of the
        whole process, and a recorded graph keeps what it was recorded with.
        """
        return [*(self._warm(c, f.result(), inputs, expected) for c, f in self.made[shape]), *self.refused]

    def _warm(self, candidate: Candidate, made: Path | Failure, inputs: Arrays, expected: np.ndarray) -> Row | Failure:
        if isinstance(made, Failure):
            return made
        engine = self.engine
        try:
            session = engine.load(str(made), candidate.session, 1)
            for _ in range(WARMUP):
                answer = engine.run(session, inputs)["answer"]
        except Exception as error:
            return explain(candidate.id, error)
        (bound,) = session.bound.values()
        return Row(
            candidate.id,
            True,
            candidate.precision,
            lambda: engine.run(session, inputs),
            lambda: work(engine, session, bound),
            measure_error(answer, expected),
        )


def work(engine: ModuleType, session: Any, bound: Any) -> None:
    """What a call does on the device."""
    with torch.inference_mode(), torch.cuda.stream(session.stream):
        engine.compute(session, bound)
        session.stream.synchronize()


def start_aotinductor(
    model: GpuModel, target: Target, precisions: tuple[Precision, ...], weights: Path, folder: Path
) -> AotInductorRows:
    """Begins to compile every candidate, for each shape of the model as for a workload of that shape. `weights` is a
    file of its state."""
    runtime = AotInductorCuda()
    offered, refused = runtime.candidates(model.describe(), target, precisions)
    pool, made = ThreadPoolExecutor(AT_ONCE), []
    for index, shape in enumerate(model.shapes):
        fitted = [runtime.fit_shapes(c, model.list_ranges(*shape), TensorRtSection()) for c in offered]
        outs = [folder / f"{c.id}-{index}" for c in fitted]
        futures = [pool.submit(_compile, model.name, c, weights, out) for c, out in zip(fitted, outs, strict=True)]
        made.append(tuple(zip(fitted, futures, strict=True)))
    pool.shutdown(wait=False)
    failures = tuple(Failure(rejection.what, rejection.reason) for rejection in refused)
    return AotInductorRows(load_engine(runtime.engine), tuple(made), failures)


def _compile(name: str, candidate: Candidate, weights: Path, out: Path) -> Path | Failure:
    assert candidate.build is not None, "the compiler makes them all"
    started = time.perf_counter()
    command = [sys.executable, "-m", "support.gpu_compile", name, json.dumps(dict(candidate.build.options))]
    try:
        done = subprocess.run(
            [*command, str(weights), str(out)],
            cwd=BENCHMARKS,
            capture_output=True,
            text=True,
            timeout=COMPILE_LIMIT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Failure(candidate.id, f"took more than {COMPILE_LIMIT_S:.0f} s to compile")
    log(f"{candidate.id}: compiled in {time.perf_counter() - started:.0f} s")
    if done.returncode:
        lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        return Failure(candidate.id, (lines or [f"the compiler ended with status {done.returncode}"])[-1][:200])
    return out / MODEL_FILE
