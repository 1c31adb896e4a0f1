"""The jobs of a candidate: a check of its answers; if these are good, a short timing; if it is ahead, a long one."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from packc.candidate import Candidate, OptionValue
from packc.jobs.bundle import MODEL_FOLDER
from packc.jobs.job import Effort, Job
from packc.measure.statistics import needed_calls
from packc.tensors import ShapeCase

CHECK_EFFORT = Effort(warmup=3, min_calls=10, min_seconds=0.0, max_seconds=0.5)
"""A rough latency, so that reports can also place the candidates that were refused."""

SHORT_EFFORT = Effort(warmup=3, min_calls=10, min_seconds=0.0, max_seconds=1.0)
"""Enough to see who is clearly behind."""

LARGEST_EFFORT = Effort(warmup=3, min_calls=5, min_seconds=0.0, max_seconds=0.5)
"""The cases after the first only need a median."""

CURVE_EFFORT = Effort(warmup=3, min_calls=5, min_seconds=0.1, max_seconds=0.3)
"""For one of the many shapes of a curve. The second or third call of a shape may record a CUDA graph."""


AGAIN = "again"
"""Name of a curve's last case."""


def check_job(
    candidate: Candidate,
    model: Path,
    options: Mapping[str, OptionValue],
    threads: int,
    cases: tuple[ShapeCase, ...],
    outputs: tuple[str, ...],
) -> Job:
    """A job that answers samples.npz with `outputs` (empty for all) and calls the first case a few times."""
    return Job(
        candidate=candidate.id,
        runtime=candidate.runtime,
        model=f"{MODEL_FOLDER}/{model.name}",
        options=options,
        threads=threads,
        cases=cases[:1],
        efforts=(CHECK_EFFORT,) * len(cases[:1]),
        outputs=outputs,
        answer=True,
    )


def short_job(
    candidate: Candidate, model: Path, options: Mapping[str, OptionValue], threads: int, cases: tuple[ShapeCase, ...]
) -> Job:
    """A job that calls every case a few times."""
    return _make_timing(candidate, model, options, threads, cases, (SHORT_EFFORT,) * len(cases))


def timing_job(
    candidate: Candidate,
    model: Path,
    options: Mapping[str, OptionValue],
    threads: int,
    cases: tuple[ShapeCase, ...],
    rounds: int,
    percentile: float = 99.0,
) -> Job:
    """A job that times every case; `rounds` runs of it give the first case enough calls for `percentile`.

    A slow model gets fewer calls: 3 s a round at the first case, 0.5 s at the others, three calls at least.
    """
    first = Effort(warmup=10, min_calls=math.ceil(needed_calls(percentile) / rounds), min_seconds=0.25, max_seconds=3.0)
    efforts = (first, *(LARGEST_EFFORT,) * (len(cases) - 1))
    return _make_timing(candidate, model, options, threads, cases, efforts)


def curve_job(
    candidate: Candidate, model: Path, options: Mapping[str, OptionValue], threads: int, cases: tuple[ShapeCase, ...]
) -> Job:
    """A job that times every case briefly and the first again at the end: at most 0.3 s each, three calls at least.

    When the first takes another time then, the machine was disturbed in between.
    """
    cases = (*cases, replace(cases[0], name=AGAIN))
    return _make_timing(candidate, model, options, threads, cases, (CURVE_EFFORT,) * len(cases))


def _make_timing(
    candidate: Candidate,
    model: Path,
    options: Mapping[str, OptionValue],
    threads: int,
    cases: tuple[ShapeCase, ...],
    efforts: tuple[Effort, ...],
) -> Job:
    return Job(
        candidate=candidate.id,
        runtime=candidate.runtime,
        model=f"{MODEL_FOLDER}/{model.name}",
        options=options,
        threads=threads,
        cases=cases,
        efforts=efforts,
        outputs=(),
        answer=False,
    )
