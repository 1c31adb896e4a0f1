"""The two jobs that every candidate gets: a check of its answers, then, if they are good enough, its timing.

The check comes first because a candidate that the quality gate refuses is not worth timing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

from packc.candidate import Candidate, OptionValue
from packc.jobs.bundle import MODEL_FOLDER
from packc.jobs.job import Effort, Job
from packc.measure.statistics import needed_calls
from packc.tensors import ShapeCase

CHECK_EFFORT = Effort(warmup=2, min_calls=10, min_seconds=0.0, max_seconds=0.5)
"""A rough latency, so that reports can also place the candidates that were refused."""

LARGEST_EFFORT = Effort(warmup=1, min_calls=5, min_seconds=0.0, max_seconds=0.5)
"""The cases after the first only need a median."""

CURVE_EFFORT = Effort(warmup=1, min_calls=5, min_seconds=0.1, max_seconds=0.3)
"""For one of the many shapes of a curve."""


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
    return Job(
        candidate=candidate.id,
        runtime=candidate.runtime,
        model=f"{MODEL_FOLDER}/{model.name}",
        options=options,
        threads=threads,
        cases=cases,
        efforts=(first, *(LARGEST_EFFORT,) * (len(cases) - 1)),
        outputs=(),
        answer=False,
    )


def curve_job(
    candidate: Candidate, model: Path, options: Mapping[str, OptionValue], threads: int, cases: tuple[ShapeCase, ...]
) -> Job:
    """A job that times every case briefly: at most 0.3 s each, three calls at least."""
    return Job(
        candidate=candidate.id,
        runtime=candidate.runtime,
        model=f"{MODEL_FOLDER}/{model.name}",
        options=options,
        threads=threads,
        cases=cases,
        efforts=(CURVE_EFFORT,) * len(cases),
        outputs=(),
        answer=False,
    )
