"""A job bundle: a folder that builds and measures one candidate anywhere its runtime is installed.

    job.json      what to do (Job)
    run.py        the runner: standard library and numpy only
    engine.py     the runtime's adapter: its own package only
    model/        the lowered graph
    samples.npz   inputs whose answers are wanted (data.samples layout)
    latency.npz   inputs to time, sample i belonging to cases[i]

`python3 run.py` writes result.json (JobResult) and answers.npz beside it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from packc.candidate import OptionValue


@dataclass(frozen=True, slots=True)
class ShapeCase:
    """A shape at which latency is measured: `batch` samples of `sequence` tokens (None where there are none)."""

    name: str
    """"typical" or "max"."""
    batch: int
    sequence: int | None


@dataclass(frozen=True, slots=True)
class Job:
    """What a runner does with its bundle."""

    candidate: str
    runtime: str
    model: str
    """Path of the model's main file within the bundle."""
    options: Mapping[str, OptionValue]
    """Session options of the runtime."""
    threads: int
    cases: tuple[ShapeCase, ...]
    outputs: tuple[str, ...]
    """Outputs to keep in answers.npz; empty for all."""
    answer: bool
    """Whether to run samples.npz and write answers.npz."""
    warmup: int
    """Calls before timing, at each case."""
    min_calls: int
    max_seconds: float
    """Time spent at each case, at most, once min_calls were made."""


@dataclass(frozen=True, slots=True)
class CaseTimes:
    """Raw times of the calls at one case, milliseconds, in order."""

    case: str
    times_ms: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class JobResult:
    """What came back from one run of a bundle."""

    status: Literal["ok", "failed", "timed_out", "killed"]
    failure: str | None
    """One line for people: the exception, the signal, the limit."""
    load_s: float
    peak_rss_mib: float
    times: tuple[CaseTimes, ...]
    answers: Path | None
    device: str
    versions: tuple[tuple[str, str], ...]
