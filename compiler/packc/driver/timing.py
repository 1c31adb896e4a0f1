"""Times candidates side by side: shortly, to see who is ahead, or in rounds long enough for the figures of a report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from pydantic import TypeAdapter

from packc.cache import NotKept, cache_key
from packc.candidate import Candidate, OptionValue
from packc.driver.evaluate import JOB_TIMEOUT_S, Trial, identify_job
from packc.jobs.bundle import write_bundle
from packc.jobs.job import Job, JobResult
from packc.measure.jobs import short_job, timing_job
from packc.measure.measurement import Measurement
from packc.measure.rounds import measure_bundles
from packc.package.artifact import artifact_files
from packc.runtimes import find_runtime
from packc.select import Outcome

ROUNDS = 3
"""Of a long timing; the calls of all are pooled, and medians that disagree mark the figures as noisy."""


def time_shortly(outcomes: Sequence[Outcome], trial: Trial) -> list[Outcome]:
    """Each with a few calls in a fresh process, one after the other; the measurements stay rough."""
    is_wide = trial.spec.optimize.goal == "throughput"  # which the best shape decides, not the typical one
    cases = trial.cases if is_wide else trial.cases[:1]
    jobs = {o.candidate.id: short_job(*_list_job_parts(o, trial), cases) for o in outcomes}
    results = _time_jobs(jobs, outcomes, trial, rounds=1, is_short=True)
    return [_add_timing(outcome, results[outcome.candidate.id], is_rough=True) for outcome in outcomes]


def time_long(outcomes: Sequence[Outcome], trial: Trial) -> list[Outcome]:
    """Each in several rounds of fresh processes, with calls enough for the budget's percentile unless they are slow."""
    percentile = trial.spec.budget.percentile
    jobs = {o.candidate.id: timing_job(*_list_job_parts(o, trial), trial.cases, ROUNDS, percentile) for o in outcomes}
    results = _time_jobs(jobs, outcomes, trial, rounds=ROUNDS, is_short=False)
    return [_add_timing(outcome, results[outcome.candidate.id], is_rough=False) for outcome in outcomes]


def _list_job_parts(outcome: Outcome, trial: Trial) -> tuple[Candidate, Path, Mapping[str, OptionValue], int]:
    """What is timed: the candidate, its artifact, the options of its session, its threads."""
    options = find_runtime(outcome.candidate.runtime).job_options(outcome.candidate, trial.threads)
    return outcome.candidate, _find_artifact(outcome), options, trial.threads


def _time_jobs(
    jobs: Mapping[str, Job], outcomes: Sequence[Outcome], trial: Trial, *, rounds: int, is_short: bool
) -> dict[str, Measurement | JobResult]:
    """Times the candidates in interleaved rounds; the figures of one such run stay together in the cache.

    A run in which one failed or was noisy at any shape, or on a GPU that others use too, is not kept: what caused it
    may be gone the next time. A short one cannot tell whether it was noisy, so it is never kept either.
    """
    adapter = TypeAdapter(dict[str, Measurement | JobResult])
    models = {outcome.candidate.id: _find_artifact(outcome) for outcome in outcomes}

    def make(folder: Path) -> None:
        with TemporaryDirectory(dir=folder) as scratch:
            bundles = {name: Path(scratch, name) for name in jobs}
            for name, job in jobs.items():
                files, engine = artifact_files(models[name]).values(), find_runtime(job.runtime).engine_files
                write_bundle(bundles[name], job, files, None, trial.latency_inputs, engine)
            pythons = {name: python for name, job in jobs.items() if (python := find_runtime(job.runtime).python)}
            results = measure_bundles(bundles, rounds, JOB_TIMEOUT_S, trial.memory_limit_mib, pythons)
        if is_short or trial.is_shared or not all(_is_quiet(result) for result in results.values()):
            raise NotKept(results)
        (folder / "results.json").write_bytes(adapter.dump_json(results))

    key = cache_key(rounds=rounds, jobs={name: identify_job(job, models[name], trial) for name, job in jobs.items()})
    try:
        who = next(iter(jobs)) if len(jobs) == 1 else f"{len(jobs)} candidates"
        folder = trial.cache.get_or_make("timing", key, make, reused=f"{who}: timed before")
    except NotKept as passing:
        results: dict[str, Measurement | JobResult] = passing.result
        return results
    return adapter.validate_json((folder / "results.json").read_bytes())


def _is_quiet(result: Measurement | JobResult) -> bool:
    return isinstance(result, Measurement) and not any(latency.noisy for latency in result.latencies)


def _find_artifact(outcome: Outcome) -> Path:
    assert outcome.model is not None, "a candidate without a model has failed"
    return outcome.model


def _add_timing(outcome: Outcome, result: Measurement | JobResult, *, is_rough: bool) -> Outcome:
    if isinstance(result, JobResult):
        return replace(outcome, measurement=None, failure=result.failure)
    return replace(outcome, measurement=result, is_rough=is_rough)
