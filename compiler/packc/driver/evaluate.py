"""Candidates -> Outcomes: lower each graph, judge its answers, and time those whose quality holds.

Quality comes first because it is cheap: a candidate that breaks its bound is never timed. Whatever goes wrong with one
candidate (a failed pass, a crash, a hang, too little memory) becomes its outcome, and the others go on.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from pydantic import TypeAdapter

from packc import __version__
from packc.cache import Cache, cache_key
from packc.candidate import Candidate
from packc.errors import DataError, PackError
from packc.ingest.fingerprint import fingerprint_files, hash_file
from packc.ingest.ingest import Ingested
from packc.jobs import runner
from packc.jobs.bundle import write_bundle
from packc.jobs.job import Job, JobResult
from packc.jobs.local import run_bundle
from packc.measure.jobs import check_job, timing_job
from packc.measure.measurement import Measurement
from packc.measure.rounds import measure_bundles, summarize_runs
from packc.package.artifact import artifact_files
from packc.passes.lower import lower_graph
from packc.plan import Rejection
from packc.promises import describe_score
from packc.quality.gate import judge_score
from packc.quality.metrics import score_answers
from packc.runtimes import find_runtime
from packc.search import admit_in_time
from packc.select import Outcome
from packc.spec.model import MetricName, TargetSpec
from packc.tensors import ShapeCase

log = logging.getLogger(__name__)

ROUNDS = 3
JOB_TIMEOUT_S = 600.0


@dataclass(frozen=True, slots=True)
class Trial:
    """What every candidate of one target is tried on."""

    spec: TargetSpec
    ingested: Ingested
    metric: MetricName
    labels: tuple[str, ...]
    """True classes of the evaluation samples; empty when they are not known."""
    cases: tuple[ShapeCase, ...]
    latency_inputs: Path
    """Inputs to time, sample i belonging to cases[i]."""
    threads: int
    """Of this machine, for whatever runs here."""
    device: str
    """Identity of this machine: a figure measured on one is not another's."""
    cache: Cache
    memory_limit_mib: float | None
    """A job that uses more is ended; None where nobody knows how much there is."""


@dataclass(frozen=True, slots=True)
class Checked:
    """A candidate whose answers were judged, and what its timing needs."""

    outcome: Outcome
    model_hash: str
    """Of all files of the artifact; empty for a candidate that failed."""
    is_kept: bool


class _NotKept(Exception):
    """Carries the results of a run past the cache: a candidate failed in it, or other work disturbed it."""

    def __init__(self, results: dict[str, Measurement | JobResult]) -> None:
        super().__init__("these figures are not kept")
        self.results = results


def evaluate_candidates(candidates: Sequence[Candidate], trial: Trial) -> tuple[list[Outcome], list[Rejection]]:
    """One outcome for each candidate that got its turn within `[optimize] max_minutes`, and the others."""
    checked, skipped = check_candidates(candidates, trial)
    return time_candidates(checked, trial), skipped


def check_candidates(candidates: Sequence[Candidate], trial: Trial) -> tuple[list[Checked], list[Rejection]]:
    """Checks the candidates in order while `[optimize] max_minutes` last; the others come back as rejections."""
    checked: list[Checked] = []
    skipped: list[Rejection] = []
    for admitted in admit_in_time(candidates, trial.spec.optimize.max_minutes):
        if isinstance(admitted, Rejection):
            skipped.append(admitted)
        else:
            checked.append(check_candidate(admitted, trial))
    return checked, skipped


def check_candidate(candidate: Candidate, trial: Trial) -> Checked:
    """Lowers one candidate's graph and judges its answers to the evaluation samples."""
    outcome = Outcome(candidate, model=None, measurement=None, quality=None, failure=None, warnings=())
    try:
        lowered = lower_graph(trial.ingested.source, candidate.passes, trial.ingested.calibration, trial.cache)
        warnings = tuple(warning for report in lowered.reports for warning in report.warnings)
        outcome = replace(outcome, model=lowered.model, warnings=warnings)
        model_hash = fingerprint_files(artifact_files(lowered.model).values(), lowered.model.parent)
        folder = _run_check(candidate, lowered.model, model_hash, trial)
        answers, source = folder / "answers.npz", trial.ingested.source
        labels, names = trial.labels, source.info.labels
        score = score_answers(trial.metric, trial.ingested.answers, answers, source.answer, labels, names)
    except DataError:
        raise  # the user's samples are at fault, not the candidate
    except PackError as error:
        log.info("%s: failed: %s", candidate.id, error)
        return Checked(replace(outcome, failure=str(error)), "", is_kept=False)
    rough = TypeAdapter(Measurement).validate_json((folder / "measurement.json").read_bytes())
    is_kept = judge_score(score, trial.spec.quality).kept
    log.info("%s: %s%s", candidate.id, describe_score(score), "" if is_kept else ": below the bound")
    outcome = replace(outcome, quality=score, measurement=rough, answers=answers)
    return Checked(outcome, model_hash, is_kept)


def time_candidates(checked: Sequence[Checked], trial: Trial) -> list[Outcome]:
    """Times those whose quality is kept, side by side; the others keep the rough figures of their check."""
    kept = {item.outcome.candidate.id: item for item in checked if item.is_kept}
    results = _run_timing(kept, trial) if kept else {}
    return [_with_timing(item.outcome, results.get(item.outcome.candidate.id)) for item in checked]


def _with_timing(outcome: Outcome, result: Measurement | JobResult | None) -> Outcome:
    match result:
        case None:
            return outcome
        case Measurement():
            return replace(outcome, measurement=result)
        case JobResult():
            return replace(outcome, measurement=None, failure=result.failure)


def _run_check(candidate: Candidate, model: Path, model_hash: str, trial: Trial) -> Path:
    """A folder with answers.npz and a rough measurement.json. Raises PackError with the candidate's failure."""
    runtime = find_runtime(candidate.runtime)
    options = runtime.job_options(candidate, trial.threads)
    outputs = tuple(output.name for output in trial.ingested.source.outputs)
    job = check_job(candidate, model, options, trial.threads, trial.cases, outputs)

    def make(folder: Path) -> None:
        with TemporaryDirectory(dir=folder) as scratch:
            bundle = Path(scratch)
            write_bundle(
                bundle, job, artifact_files(model).values(), trial.ingested.inputs, trial.latency_inputs, runtime.engine
            )
            result = run_bundle(bundle, JOB_TIMEOUT_S, memory_limit_mib=trial.memory_limit_mib)
            if result.status != "ok":
                raise PackError(result.failure or result.status)
            rough = summarize_runs(bundle, [result])
            (folder / "measurement.json").write_bytes(TypeAdapter(Measurement).dump_json(rough))
            (bundle / "answers.npz").rename(folder / "answers.npz")

    key = cache_key(job=_identify(job, model_hash, trial), samples=hash_file(trial.ingested.inputs))
    return trial.cache.get_or_make("check", key, make)


def _run_timing(kept: dict[str, Checked], trial: Trial) -> dict[str, Measurement | JobResult]:
    """Times the candidates in interleaved rounds; the figures of one such run stay together in the cache.

    A run in which one failed or was noisy is not kept: what caused it may be gone the next time.
    """
    jobs: dict[str, Job] = {}
    for name, item in kept.items():
        candidate, model = item.outcome.candidate, item.outcome.model
        assert model is not None, "a candidate without a model has failed"
        options = find_runtime(candidate.runtime).job_options(candidate, trial.threads)
        jobs[name] = timing_job(
            candidate, model, options, trial.threads, trial.cases, ROUNDS, trial.spec.budget.percentile
        )
    adapter = TypeAdapter(dict[str, Measurement | JobResult])

    def make(folder: Path) -> None:
        with TemporaryDirectory(dir=folder) as scratch:
            bundles = {name: Path(scratch, name) for name in jobs}
            for name, job in jobs.items():
                model = kept[name].outcome.model
                assert model is not None
                files = artifact_files(model).values()
                write_bundle(bundles[name], job, files, None, trial.latency_inputs, find_runtime(job.runtime).engine)
            results = measure_bundles(bundles, ROUNDS, JOB_TIMEOUT_S, memory_limit_mib=trial.memory_limit_mib)
        if any(isinstance(result, JobResult) or result.latencies[0].noisy for result in results.values()):
            raise _NotKept(results)
        (folder / "results.json").write_bytes(adapter.dump_json(results))

    key = cache_key(jobs={name: _identify(job, kept[name].model_hash, trial) for name, job in jobs.items()})
    try:
        folder = trial.cache.get_or_make("timing", key, make)
    except _NotKept as passed:
        return passed.results
    return adapter.validate_json((folder / "results.json").read_bytes())


def _identify(job: Job, model_hash: str, trial: Trial) -> dict[str, object]:
    """What a measurement's figures depend on: job, model, versions, the runner and its adapter, inputs, machine."""
    runtime = find_runtime(job.runtime)
    return {
        "job": TypeAdapter(Job).dump_python(job, mode="json"),
        "model": model_hash,
        "engine": hash_file(runtime.engine),
        "runner": hash_file(Path(runner.__file__)),
        "versions": {"packc": __version__, **runtime.versions()},
        "latency_inputs": hash_file(trial.latency_inputs),
        "device": trial.device,
    }
