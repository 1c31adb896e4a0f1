"""Latency against batch and length, with as many copies of the model at work as would be served side by side."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from packc.jobs.bundle import join_copies, read_job
from packc.jobs.job import JobResult
from packc.jobs.local import run_bundle
from packc.measure.jobs import AGAIN
from packc.measure.statistics import NOISE_LIMIT, percentile_ms, relative_spread

log = logging.getLogger(__name__)

WAIT_SHARE = 0.9
"""Of a job's time limit, for which copies wait for each other: they say then that they did, before they are ended."""


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """Times of single calls at one shape."""

    batch: int
    sequence: int | None
    """Tokens of each sample, none of them padding; None where there are none."""
    times_ms: tuple[float, ...]
    """Of all copies."""

    @property
    def p50_ms(self) -> float:
        return percentile_ms(self.times_ms, 50)


@dataclass(frozen=True, slots=True)
class ServiceCurve:
    """How long a call takes while `copies` processes of `threads` threads each make calls at the same time."""

    copies: int
    threads: int
    points: tuple[CurvePoint, ...]
    again: CurvePoint | None = None
    """The first point, measured once more after the last; None where it was not."""
    device_memory_mib: float | None = None
    """Of a GPU: what one copy took after calls of all these shapes; None beside others, whose memory counts too."""


def is_disturbed(curve: ServiceCurve) -> bool:
    """Whether other work shows in the times: the first point differs at the end, or more work took clearly less time.

    What disturbs all of a curve alike is not seen.
    """
    if curve.again and relative_spread((curve.points[0].p50_ms, curve.again.p50_ms)) > NOISE_LIMIT:
        return True
    return any(
        more.batch >= less.batch
        and (more.sequence or 0) >= (less.sequence or 0)
        and less.p50_ms > more.p50_ms * (1 + NOISE_LIMIT)
        for less in curve.points
        for more in curve.points
    )


def measure_curve(
    bundles: Sequence[Path],
    timeout_s: float,
    python: Path | None = None,
    memory_limit_mib: float | None = None,
) -> ServiceCurve | JobResult:
    """Runs all of `bundles`, copies of one job, at the same time; the first failure comes back as it is.

    Copies share caches and memory bandwidth, which one alone would not show. Each case takes them about the same time,
    so they are at work at the same shapes for nearly all of it: they begin when the last one has loaded.
    `memory_limit_mib` is for all of them together.
    """
    join_copies(bundles, WAIT_SHARE * timeout_s)
    limit_mib = memory_limit_mib / len(bundles) if memory_limit_mib is not None else None
    with ThreadPoolExecutor(len(bundles)) as pool:
        results = list(pool.map(lambda folder: run_bundle(folder, timeout_s, python, limit_mib), bundles))
    if failed := next((result for result in results if result.status != "ok"), None):
        return failed
    job = read_job(bundles[0])
    times = {case.name: tuple(t for r in results for c in r.times if c.case == case.name for t in c.times_ms)
             for case in job.cases}  # fmt: skip
    found = {case.name: CurvePoint(case.batch, case.sequence, times[case.name]) for case in job.cases}
    again = found.pop(AGAIN, None)
    points = tuple(found.values())
    log.info("curve: %d x %d threads, %d shapes", len(bundles), job.threads, len(points))
    alone_mib = results[0].device_memory_mib if len(results) == 1 else None
    return ServiceCurve(len(bundles), job.threads, points, again, alone_mib)
