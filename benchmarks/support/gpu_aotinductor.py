"""Rows of pack's torch-cuda candidates: compiled by its compiler, each in its own process, and run by its engine.

python -m support.gpu_aotinductor MODEL OPTIONS WEIGHTS OUT     compiles one of them
"""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import time
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

import packc
from packc.candidate import Candidate
from packc.runtimes.aotinductor_cuda import AotInductorCuda
from packc.runtimes.aotinductor_package import MODEL_FILE
from packc.spec.optimize import TensorRtSection
from packc.target import Target
from packc.tensors import Precision
from support.gpu_models import Arrays, GpuModel
from support.gpu_rows import Failure, Row, explain, log, measure_error

AT_ONCE = max(2, (os.cpu_count() or 1) // 2)
"""Compilers side by side; each is one process for most of its time."""
COMPILE_LIMIT_S = 600.0


@dataclass(slots=True)
class AotInductorRows:
    """Packages that are made or being made for each of some shapes, to be timed at one after the other."""

    made: tuple[tuple[tuple[Candidate, Future[Path | Failure]], ...], ...]
    """One tuple a shape."""
    refused: tuple[Failure, ...]
    children: list[Child] = field(default_factory=list)
    """Of the shape that is timed now."""

    def wait(self) -> None:
        """Until every package is made, as compilers at work disturb what is timed."""
        for _, future in itertools.chain.from_iterable(self.made):
            future.result()

    def list_rows(self, shape: int, inputs: Arrays, expected: np.ndarray) -> list[Row | Failure]:
        """All of that shape's, warm at it: that of `inputs`. Each runs in a process of its own, as a job does, so that
        neither settings nor a crash are shared; one after the other gets ready, as cuDNN times its kernels then."""
        made = [(candidate, future.result()) for candidate, future in self.made[shape]]
        started = [(c, Child(c, path, inputs) if isinstance(path, Path) else path) for c, path in made]
        self.children = [child for _, child in started if isinstance(child, Child)]
        return [*(_open(c, child, expected) for c, child in started), *self.refused]

    def close(self) -> None:
        """Ends what runs for the last shape."""
        for child in self.children:
            child.close()


class Child:
    """A process that runs one package (support.gpu_aotinductor_child)."""

    def __init__(self, candidate: Candidate, package: Path, inputs: Arrays) -> None:
        self.answers, given = package.with_name("answers.npz"), package.with_name("inputs.npz")
        np.savez(given, **inputs)
        self.errors = package.with_name("stderr.txt")
        command = [sys.executable, "-m", "support.gpu_aotinductor_child", str(package), str(given), str(self.answers)]
        with self.errors.open("wb") as stream:
            self.process = subprocess.Popen(
                [*command, json.dumps(dict(candidate.session))],
                env=make_environment(),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stream,
                text=True,
            )

    def ask(self, what: str) -> float:
        """Milliseconds of "open", "call" or "work". Raises RuntimeError with its last words when the process ended."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        with suppress(BrokenPipeError):
            self.process.stdin.write(what + "\n")
            self.process.stdin.flush()
        if line := self.process.stdout.readline():
            return float(line)
        lines = [line.strip() for line in self.errors.read_text("utf-8", "replace").splitlines() if line.strip()]
        raise RuntimeError((lines or [f"its process ended with status {self.process.wait()}"])[-1])

    def close(self) -> None:
        self.process.kill()
        self.process.wait()


def _open(candidate: Candidate, child: Child | Failure, expected: np.ndarray) -> Row | Failure:
    if isinstance(child, Failure):
        return child
    try:
        child.ask("open")
    except RuntimeError as error:
        return explain(candidate.id, error)
    with np.load(child.answers) as answers:
        error_of_answer = measure_error(answers["answer"], expected)
    return Row(
        candidate.id,
        True,
        candidate.precision,
        lambda: child.ask("call"),
        lambda: child.ask("work"),
        error_of_answer,
        clock=lambda ask: float(ask()),
    )


def make_environment() -> dict[str, str]:
    """Ours, with the folders of these benchmarks and of packc for Python to look in."""
    folders = [str(Path(file).resolve().parents[1]) for file in (__file__, packc.__file__)]
    return {**os.environ, "PYTHONPATH": os.pathsep.join([*folders, os.environ.get("PYTHONPATH", "")])}


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
    return AotInductorRows(tuple(made), failures)


def _compile(name: str, candidate: Candidate, weights: Path, out: Path) -> Path | Failure:
    assert candidate.build is not None, "the compiler makes them all"
    started = time.perf_counter()
    command = [sys.executable, "-m", "support.gpu_compile", name, json.dumps(dict(candidate.build.options))]
    try:
        done = subprocess.run(
            [*command, str(weights), str(out)],
            env=make_environment(),
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
