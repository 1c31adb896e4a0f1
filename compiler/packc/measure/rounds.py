"""Measures candidates side by side: rounds of one fresh process each, so that drift of the machine hits all alike."""

from __future__ import annotations

import logging
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

from packc.jobs.bundle import model_size_mib, read_job
from packc.jobs.job import JobResult
from packc.jobs.local import run_bundle
from packc.measure.measurement import Latency, Measurement
from packc.measure.statistics import NOISE_LIMIT, percentile_ms, spread_of_rounds
from packc.tensors import ShapeCase

log = logging.getLogger(__name__)


def measure_bundles(
    bundles: Mapping[str, Path],
    rounds: int,
    timeout_s: float,
    memory_limit_mib: float | None = None,
    pythons: Mapping[str, Path] | None = None,
) -> dict[str, Measurement | JobResult]:
    """Runs every bundle once a round and pools the times, in the order of `bundles`; each in the interpreter that
    `pythons` has for it, or in this one.

    A candidate whose run fails, even once, comes back as that JobResult and is not run again.
    """
    results: dict[str, list[JobResult]] = {name: [] for name in bundles}
    failures: dict[str, JobResult] = {}
    for number in range(1, rounds + 1):
        left = len(bundles) - len(failures)
        log.info("timing round %d of %d: %d candidate%s", number, rounds, left, "" if left == 1 else "s")
        for name, folder in bundles.items():
            if name in failures:
                continue
            python = (pythons or {}).get(name)
            result = run_bundle(folder, timeout_s, python, memory_limit_mib)
            results[name].append(result)
            if result.status != "ok":
                log.info("%s: %s", name, result.failure)
                failures[name] = result
    return {
        name: failures[name] if name in failures else summarize_runs(folder, results[name])
        for name, folder in bundles.items()
    }


def summarize_runs(folder: Path, results: Sequence[JobResult]) -> Measurement:
    """One Measurement of the successful runs of the bundle in `folder`."""
    job = read_job(folder)
    return Measurement(
        latencies=tuple(_summarize_case(case, _rounds_of(case, results)) for case in job.cases),
        load_s=statistics.median(result.load_s for result in results),
        peak_rss_mib=max(result.peak_rss_mib for result in results),
        size_mib=model_size_mib(folder),
        threads=job.threads,
        device=results[0].device,
        versions=results[0].versions,
        device_memory_mib=max((mib for r in results if (mib := r.device_memory_mib) is not None), default=None),
        gpu_states=tuple(state for result in results for state in result.gpu_states),
    )


def _rounds_of(case: ShapeCase, results: Sequence[JobResult]) -> list[tuple[float, ...]]:
    return [times.times_ms for result in results for times in result.times if times.case == case.name]


def _summarize_case(case: ShapeCase, rounds_ms: Sequence[tuple[float, ...]]) -> Latency:
    times_ms = tuple(time_ms for round_ms in rounds_ms for time_ms in round_ms)
    spread = spread_of_rounds(rounds_ms)
    return Latency(
        case=case,
        p50_ms=percentile_ms(times_ms, 50),
        p99_ms=percentile_ms(times_ms, 99),
        min_ms=min(times_ms),
        throughput_per_s=case.batch * len(times_ms) / (sum(times_ms) / 1e3),
        samples=len(times_ms),
        noisy=spread is not None and spread > NOISE_LIMIT,
        times_ms=times_ms,
        spread=spread,
    )
