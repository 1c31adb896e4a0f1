"""Rows of pack's torch-cuda candidates: compiled by its compiler, each in a process of its own, and run by its engine.

python -m support.gpu_aotinductor MODEL OPTIONS WEIGHTS OUT     compiles one of them
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from packc.candidate import Candidate
from packc.errors import PackError
from packc.runtimes.aotinductor_cuda import AotInductorCuda
from packc.runtimes.aotinductor_package import MODEL_FILE, open_scratch
from packc.runtimes.cuda_toolkit import point_to_cuda
from packc.target import Target
from packc.tensors import Precision
from support.gpu_rows import WARMUP, Failure, Row, explain, load_engine, log, measure_error

BENCHMARKS = Path(__file__).resolve().parents[1]
AT_ONCE = 4
"""Compilers side by side; each has a few processes of its own."""
COMPILE_LIMIT_S = 600.0

Arrays = dict[str, Any]


@dataclass(frozen=True, slots=True)
class AotInductorRows:
    """Packages that are made or being made, to be timed at one shape after the other."""

    engine: ModuleType
    made: dict[str, tuple[Candidate, Future[Path | Failure]]]
    refused: tuple[Failure, ...]

    def list_rows(self, inputs: Arrays, expected: np.ndarray) -> list[Row | Failure]:
        """All of them, warm at the shape of `inputs`.

        Each is loaded anew and recorded before the next is loaded: whether products are in tf32 is a setting of the
        whole process, and a recorded graph keeps what it was recorded with.
        """
        return [*(self._warm(c, f.result(), inputs, expected) for c, f in self.made.values()), *self.refused]

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
    import torch

    with torch.inference_mode(), torch.cuda.stream(session.stream):
        engine.compute(session, bound)
        session.stream.synchronize()


def start_aotinductor(
    name: str, info: Any, target: Target, precisions: tuple[Precision, ...], tuned: bool, weights: Path, folder: Path
) -> AotInductorRows:
    """Begins to compile every candidate of the model `name` that is tried without being asked for, and those that take
    minutes where `tuned` says so. `weights` is a file of its state."""
    runtime = AotInductorCuda()
    offered, refused = runtime.candidates(info, target, precisions)
    held_back = {} if tuned else runtime.on_request(info, target)
    pool = ThreadPoolExecutor(AT_ONCE)
    made = {c.id: (c, pool.submit(_compile, name, c, weights, folder / c.id)) for c in offered if c.id not in held_back}
    pool.shutdown(wait=False)
    failures = tuple(Failure(rejection.what, rejection.reason) for rejection in refused)
    return AotInductorRows(load_engine(runtime.engine), made, failures)


def _compile(name: str, candidate: Candidate, weights: Path, out: Path) -> Path | Failure:
    assert candidate.build is not None, "the compiler makes them all"
    started = time.perf_counter()
    command = [sys.executable, "-m", "support.gpu_aotinductor", name, json.dumps(dict(candidate.build.options))]
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


def main(name: str, options: str, weights: str, out: str) -> None:
    """In the child: what packc.runtimes.compile_worker does, for a module with random weights."""
    with open_scratch() as scratch:
        point_to_cuda(scratch)
        import torch

        from packc.runtimes.aotinductor_cuda_compile import compile_reference
        from support.gpu_models import GPU_MODELS

        model = GPU_MODELS[name]
        encoder = model.build("sdpa", torch.load(weights))
        Path(out).mkdir()
        try:
            compile_reference(model.refer(encoder), json.loads(options), Path(out))
        except PackError as error:
            sys.exit(str(error))


if __name__ == "__main__":
    main(*sys.argv[1:])
