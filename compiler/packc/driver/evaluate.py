"""A candidate -> its Outcome so far: lower its graph, and judge its answers.

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
from packc.jobs.bundle import RUNNER, write_bundle
from packc.jobs.job import Job
from packc.jobs.local import run_bundle
from packc.measure.jobs import check_job
from packc.measure.measurement import Measurement
from packc.measure.rounds import summarize_runs
from packc.package.artifact import artifact_files
from packc.passes.lower import lower_graph
from packc.promises import describe_score
from packc.quality.gate import judge_score
from packc.quality.metrics import score_answers
from packc.quality.score import QualityScore
from packc.roofline import Roofline
from packc.runtimes import STAND_INS, find_runtime
from packc.runtimes.compile import compile_artifact
from packc.samples import count_saved, iter_samples, save_samples
from packc.search import is_hopeless
from packc.select import NOT_JUDGED, Outcome, leave_to_server
from packc.spec.model import MetricName, TargetSpec
from packc.tensors import ShapeCase

log = logging.getLogger(__name__)

JOB_TIMEOUT_S = 600.0

MOST_SHOWN = 200
"""Characters of a runtime's reason in the line of a log; all of it stands in the manifest."""


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
    """Identity of this machine, the driver of its GPU included: a figure measured on one is not another's."""
    cache: Cache
    memory_limit_mib: float | None
    """A job that uses more is ended; None where nobody knows how much there is."""
    verify: bool = False
    """Whether a server has the last word, so that throughput is not judged without one."""
    exact_int8: bool = False
    """Whether this machine would cut off int8 sums that the target does not: answers are then judged without that."""
    is_here: bool = True
    """Whether this machine is the device; answers are judged by a runtime of its CPU where it is not."""
    is_shared: bool = False
    """Whether other processes compute on the GPU that is measured: what they disturb is used once and not kept."""
    roofline: Roofline | None = None
    """The physical limit of this machine; None where it is not known, or the device is elsewhere."""

    @property
    def local_spec(self) -> TargetSpec:
        """What the candidates are judged by before any server is asked."""
        return leave_to_server(self.spec) if self.verify else self.spec


@dataclass(frozen=True, slots=True)
class Exam:
    """Samples, the source model's answers to them, and their true classes where these are known."""

    inputs: Path
    answers: Path
    labels: tuple[str, ...]


def check_candidate(candidate: Candidate, trial: Trial, pilot: Sequence[int] = ()) -> Outcome:
    """Lowers one candidate's graph and judges its answers to the evaluation samples.

    With a `pilot`, those samples come first, and a candidate that is clearly below the bound on them is refused on
    their word; its warnings say so.
    """
    outcome = Outcome(candidate, model=None, measurement=None, quality=None, failure=None, warnings=())
    exam = Exam(trial.ingested.inputs, trial.ingested.answers, trial.labels)
    try:
        source = trial.ingested.find_source(candidate)
        lowered = lower_graph(source, candidate.passes, trial.ingested.calibration, trial.cache)
        warnings = tuple(warning for report in lowered.reports for warning in report.warnings)
        model, remarks = _build_artifact(candidate, lowered.model, trial)
        outcome = replace(outcome, model=model, warnings=(*warnings, *remarks))
        if pilot:
            score, folder = _examine(candidate, model, _cut_exam(exam, pilot, trial.cache), trial, "some answers")
            if is_hopeless(score, trial.spec.quality):
                remark = f"refused on {len(pilot)} of {count_saved(exam.inputs)} samples, as it is far below the bound"
                log.info("%s: %s: %s", candidate.id, describe_score(score), remark)
                return _with_check(replace(outcome, warnings=(*outcome.warnings, remark)), score, folder)
        score, folder = _examine(candidate, model, exam, trial, "answers")
    except DataError:
        raise  # the user's samples are at fault, not the candidate
    except PackError as error:
        if str(error).startswith(NOT_JUDGED):
            reason = " ".join(str(error).removeprefix(f"{NOT_JUDGED}: ").split())
            log.info("%s: not judged here: no kernel of this CPU for it (%s)", candidate.id, reason[:MOST_SHOWN])
        else:
            log.info("%s: failed: %s", candidate.id, error)
        return replace(outcome, failure=str(error))
    is_kept = judge_score(score, trial.spec.quality).kept
    log.info("%s: %s%s", candidate.id, describe_score(score), "" if is_kept else ": below the bound")
    return replace(_with_check(outcome, score, folder), answers=folder / "answers.npz")


def _build_artifact(candidate: Candidate, graph: Path, trial: Trial) -> tuple[Path, tuple[str, ...]]:
    """The main file that the candidate's runtime loads, and what its compiler remarked. Raises PackError."""
    if candidate.build is None:
        return graph, ()
    ingested = trial.ingested
    info = ingested.find_source(candidate).info
    runtime = find_runtime(candidate.runtime)
    compiled = compile_artifact(
        runtime,
        candidate.build,
        graph,
        info,
        ingested.calibration,
        trial.cache,
        reused=f"{candidate.id}: compiled before",
    )
    return compiled.model, compiled.remarks


def _with_check(outcome: Outcome, score: QualityScore, folder: Path) -> Outcome:
    rough = TypeAdapter(Measurement).validate_json((folder / "measurement.json").read_bytes())
    return replace(outcome, quality=score, measurement=rough, is_rough=True)


def _cut_exam(exam: Exam, indices: Sequence[int], cache: Cache) -> Exam:
    """Only the samples at `indices`, numbered anew."""

    def make(folder: Path) -> None:
        for source in (exam.inputs, exam.answers):
            save_samples(folder / source.name, iter_samples(source, indices))

    key = cache_key(inputs=hash_file(exam.inputs), answers=hash_file(exam.answers), indices=list(indices))
    folder = cache.get_or_make("pilot", key, make)
    labels = tuple(exam.labels[index] for index in indices) if exam.labels else ()
    return Exam(folder / exam.inputs.name, folder / exam.answers.name, labels)


def _examine(candidate: Candidate, model: Path, exam: Exam, trial: Trial, what: str) -> tuple[QualityScore, Path]:
    """The score of the candidate's answers, and the folder of its check. Raises PackError with its failure.

    `what` is checked, for the log.
    """
    source = trial.ingested.source
    folder = _run_check(candidate, model, exam.inputs, trial, reused=f"{candidate.id}: {what} checked before")
    answers, names = folder / "answers.npz", source.info.labels
    return score_answers(trial.metric, exam.answers, answers, source.answer, exam.labels, names), folder


def _run_check(candidate: Candidate, model: Path, samples: Path, trial: Trial, *, reused: str) -> Path:
    """A folder with answers.npz and a rough measurement.json. Raises PackError with the candidate's failure."""
    stand_in = None if trial.is_here else STAND_INS.get(candidate.runtime)
    if stand_in:
        candidate = replace(candidate, runtime=stand_in)
    runtime = find_runtime(candidate.runtime)
    options = dict(runtime.job_options(candidate, trial.threads))
    if trial.exact_int8 and candidate.precision == "int8":
        options["exact_int8"] = True
    outputs = tuple(output.name for output in trial.ingested.source.outputs)
    job = check_job(candidate, model, options, trial.threads, trial.cases, outputs)

    def make(folder: Path) -> None:
        with TemporaryDirectory(dir=folder) as scratch:
            bundle = Path(scratch)
            files, inputs = artifact_files(model).values(), trial.latency_inputs
            write_bundle(bundle, job, files, samples, inputs, runtime.engine_files)
            result = run_bundle(bundle, JOB_TIMEOUT_S, python=runtime.python, memory_limit_mib=trial.memory_limit_mib)
            if result.status != "ok":
                why = result.failure or result.status
                raise PackError(f"{NOT_JUDGED}: {why}" if stand_in else why)
            rough = summarize_runs(bundle, [result])
            (folder / "measurement.json").write_bytes(TypeAdapter(Measurement).dump_json(rough))
            (bundle / "answers.npz").rename(folder / "answers.npz")

    key = cache_key(job=identify_job(job, model, trial), samples=hash_file(samples))
    return trial.cache.get_or_make("check", key, make, lambda _: not trial.is_shared, reused=reused)


def identify_job(job: Job, model: Path, trial: Trial) -> dict[str, object]:
    """What a measurement's figures depend on: job, model, versions, the runner and its adapter, inputs, machine."""
    runtime = find_runtime(job.runtime)
    return {
        "job": TypeAdapter(Job).dump_python(job, mode="json"),
        "model": fingerprint_files(artifact_files(model).values(), model.parent),
        "engine": [hash_file(file) for file in runtime.engine_files.values()],
        "runner": [hash_file(file) for file in RUNNER.values()],
        "versions": {"packc": __version__, **runtime.versions()},
        "latency_inputs": hash_file(trial.latency_inputs),
        "device": trial.device,
    }
