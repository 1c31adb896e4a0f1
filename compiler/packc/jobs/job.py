"""A job bundle: a folder that measures one candidate anywhere its runtime is installed.

    job.json      what to do (Job)
    run.py        the runner: standard library and numpy only
    result_files.py
                  of the runner: what runs leave
    gpu_state.py  of the runner: how a GPU runs at a moment
    engine.py     the runtime's adapter: its own package only, and files of its own beside it (Runtime.engine_files)
    model/        the lowered graph
    samples.npz   inputs whose answers are wanted (the layout of packc.samples)
    latency.npz   inputs to time, sample i belonging to cases[i]; samples beyond the cases are left alone
    copies.json   only where copies of the bundle run at the same time: their folders, beside this one

`python3 run.py` writes result.json (JobResult) and answers.npz beside it.

engine.py offers three functions. What they raise becomes the candidate's failure, so messages are for people.

    load(model: str, options: dict, threads: int) -> session      `model` is the path of the model's main file
    run(session, inputs: dict[str, ndarray]) -> dict[str, ndarray]    every output of the graph
    describe(session) -> dict[str, str]     package -> version, and "device" where the session is not on the CPU
    device_memory_mib(session) -> float | None
                                            of such a device, what the session took; adapters for CPUs have no such word
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from packc.candidate import OptionValue
from packc.tensors import ShapeCase

JobStatus = Literal["ok", "failed", "timed_out", "killed"]


@dataclass(frozen=True, slots=True)
class Effort:
    """How long one case is timed: until both minima are reached or `max_seconds` are over; three calls at least."""

    warmup: int
    """Calls before timing; fewer when they take longer than `max_seconds`."""
    min_calls: int
    min_seconds: float
    max_seconds: float


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
    efforts: tuple[Effort, ...]
    """One a case."""
    outputs: tuple[str, ...]
    """Outputs to keep in answers.npz; empty for all."""
    answer: bool
    """Whether to run samples.npz and write answers.npz."""
    build: str = ""
    """Key of what the bundles of its build are made of; empty where it does not outlive its run."""
    graph: str = ""
    """sha256 over the names and contents of the model's files, of such a bundle."""


@dataclass(frozen=True, slots=True)
class CaseTimes:
    """Raw times of the calls of one round at one case, milliseconds, in order."""

    case: str
    times_ms: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class GpuState:
    """How a GPU ran at one moment, by NVML; None for what it does not tell."""

    sm_mhz: int | None
    memory_mhz: int | None
    power_w: float | None
    temperature_c: int | None
    limits: tuple[str, ...] | None
    """What held its clocks back: "power cap", "temperature"; see LIMITS of packc.jobs.gpu_state."""


@dataclass(frozen=True, slots=True)
class JobResult:
    """What came back from one run of a bundle. Figures that were never reached are 0 or empty."""

    status: JobStatus
    failure: str | None
    """One line for people: the exception, the signal, the limit."""
    load_s: float
    peak_rss_mib: float
    times: tuple[CaseTimes, ...]
    answers: Path | None
    device: str
    versions: tuple[tuple[str, str], ...]
    device_memory_mib: float | None = None
    """The most memory of a GPU that the session took, by its adapter; None where there is none, or nobody knows."""
    gpu_states: tuple[GpuState, ...] = ()
    """Of such a device, right after the calls of the first case: one a round; empty where nothing is told."""
    answers_sha256: str | None = None
    """Of answers.npz as the run wrote it."""
    job_sha256: str | None = None
    """Of job.json as the run read it."""
