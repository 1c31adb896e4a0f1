"""Rows of a table of GPU times: one way to run a model at one shape each, timed in turns."""

from __future__ import annotations

import importlib.util
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

from packc.tensors import Precision

LEAST_CALLS, LEAST_S = 20, 0.15
WARMUP = 10


def time_calls(call: Callable[[], Any]) -> float:
    """The median in milliseconds."""
    for _ in range(3):
        call()
    times, started = [], time.perf_counter()
    while len(times) < LEAST_CALLS or time.perf_counter() - started < LEAST_S:
        before = time.perf_counter()
        call()
        times.append((time.perf_counter() - before) * 1e3)
    return statistics.median(times)


@dataclass(slots=True)
class Row:
    """One way to run the model at one shape. `call` takes and gives host arrays; `work` stays on the device."""

    name: str
    is_pack: bool
    """Whether it is a candidate of pack's, and not somebody else's way."""
    precision: Precision
    call: Callable[[], Any]
    work: Callable[[], Any]
    error: float
    """Relative norm against PyTorch in fp32."""
    is_trick: bool = False
    """Whether it is somebody else's way as pack would go it, which is compared apart."""
    clock: Callable[[Callable[[], Any]], float] = time_calls
    """Times the one or the other: milliseconds. What runs in another process times itself there."""
    call_times_ms: list[float] = field(default_factory=list)
    """Medians, one a round."""
    work_times_ms: list[float] = field(default_factory=list)

    @property
    def call_ms(self) -> float:
        return statistics.median(self.call_times_ms)

    @property
    def work_ms(self) -> float:
        return statistics.median(self.work_times_ms)


@dataclass(frozen=True, slots=True)
class Failure:
    """A way that could not be run."""

    name: str
    reason: str
    """One line."""


def explain(name: str, error: Exception) -> Failure:
    """The first line of what went wrong."""
    return Failure(name, " ".join([f"{type(error).__name__}:", *str(error).strip().splitlines()[:1]])[:200])


def time_rows(rows: Sequence[Row | Failure], rounds: int) -> list[Row | Failure]:
    """Every row once a round, so that whatever changes with time changes for all. A row that fails is one no longer."""
    kept = list(rows)
    for _ in range(rounds):
        for index, row in enumerate(kept):
            if isinstance(row, Failure):
                continue
            try:
                row.call_times_ms.append(row.clock(row.call))
                row.work_times_ms.append(row.clock(row.work))
            except Exception as error:
                kept[index] = explain(row.name, error)
    return kept


def measure_error(answer: npt.NDArray[Any], expected: npt.NDArray[Any]) -> float:
    return float(np.linalg.norm(answer.astype(np.float64) - expected) / np.linalg.norm(expected))


def load_engine(path: Path) -> ModuleType:
    """A runtime's adapter, as a job bundle imports it: alone."""
    spec = importlib.util.spec_from_file_location(f"engine_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    engine = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = engine
    spec.loader.exec_module(engine)
    return engine


def log(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
