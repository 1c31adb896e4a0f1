"""Takes back the results of job bundles that ran on a device elsewhere.

What a bundle is, and what became of the candidates without one, stands in the manifest of the build that made them:
nothing is lowered or checked anew, and the graphs that are packaged are the bundles' own, which ran. The answers that
came from the device are judged: they are what it gives.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

from packc.candidate import Candidate, Rejection, group_rejections
from packc.driver.evaluate import Trial
from packc.driver.inputs import BuildInputs
from packc.driver.job_folder import find_bundle, find_jobs, list_bundle_files
from packc.driver.job_parts import ANY_PART, describe_changes
from packc.driver.returned import read_returned, read_unchanged_job
from packc.errors import DataError, PackError, UsageError
from packc.ingest.student import Training
from packc.jobs.bundle import read_job
from packc.jobs.job import Job, JobResult
from packc.measure.rounds import summarize_runs
from packc.package.artifact import artifact_files
from packc.package.engine_stamp import find_stamp
from packc.package.manifest import ON_THE_DEVICE, CandidateRecord, Manifest
from packc.package.manifest_file import read_manifest
from packc.promises import describe_score
from packc.quality.metrics import score_answers
from packc.quality.score import QualityScore
from packc.runtimes import find_runtime
from packc.select import NOT_RUN, Outcome
from packc.target import Target
from packc.target_profiles import shipped_profiles

log = logging.getLogger(__name__)

ENGINE_FILE = "model.plan"
"""What TensorRT's adapter leaves beside the graph in a bundle."""
RUN_HINT = "run them on the device as README.md beside job/ says, and copy job/ back whole"
CPU = re.compile(r"\(\d+ CPUs?\)$")
"""How a runner calls the processor where its engine names no device."""


def read_origin(inputs: BuildInputs, final: Path) -> Manifest:
    """The record of the build that made the bundles for `final`.

    Raises UsageError where bundles of this build would be others, whose results mean nothing here.
    """
    if inputs.target.is_here:
        raise UsageError(
            f"{inputs.spec.target}: {inputs.target.name} is this machine, so nothing is to be imported",
            hint="`pack build` measures it",
        )
    folder = find_jobs(final)
    manifest = read_manifest(folder)
    if manifest.state in ("measured", "verified"):
        raise UsageError(
            f"{folder} waits for no job bundles: it is a package, whose bundles were all imported",
            hint="to measure again, move it away, and `pack build` makes new bundles",
        )
    if manifest.state != "built":
        message = f"{folder} holds no job bundles: its state is {manifest.state}"
        raise UsageError(message, hint="`pack build` makes them")
    if manifest.jobs_key != inputs.jobs_key:
        raise UsageError(
            f"{folder}: its job bundles are of another build: "
            f"{describe_changes(manifest.job_parts, inputs.job_parts)} changed since",
            hint="undo the change to import these, or move the folder away, build again and run the new bundles; "
            "[budget], [serve] and another goal may change",
        )
    return manifest


def refuse_foreign_bundles(jobs: Path, built: Manifest) -> None:
    """Raises UsageError where what was given as the bundles of that build is of another, PackError where none has run.

    A folder with some of them is taken: what is wrong with the others is said of each.
    """
    builds = {bundle: build for bundle in sorted(jobs.iterdir()) if (build := _read_build(bundle))}
    own = [bundle for bundle, build in builds.items() if build == built.jobs_key]
    if builds and not own:
        raise UsageError(
            f"{jobs} holds no job bundles of this build of {built.target}: {_tell_origin(jobs.parent, built)}",
            hint=f"give the job/ that came back from the device of {built.target}",
        )
    if own and not any((bundle / "result.json").is_file() for bundle in own):
        raise PackError(f"{jobs}: none of its job bundles has run: there is no result.json", hint=RUN_HINT)


def _read_build(bundle: Path) -> str | None:
    """The key of the build that made the bundle; None for what is none, or is damaged."""
    try:
        return read_job(bundle).build
    except (PackError, OSError):
        return None


def _tell_origin(folder: Path, built: Manifest) -> str:
    """Of what the bundles of another build are, as far as a manifest beside them tells."""
    try:
        other = read_manifest(folder)
    except UsageError:
        return f"they are of another target or model, or {ANY_PART} changed since"
    if (other.model, other.target) != (built.model, built.target):
        return f"they are of {other.model} for {other.target}"
    return f"they are of another one: {describe_changes(other.job_parts, built.job_parts)} changed since"


def recall_rejections(built: Manifest) -> list[Rejection]:
    """What that build did not try, and why."""
    return [Rejection(item.what, item.reason) for item in built.rejected]


def recall_training(built: Manifest) -> Training | None:
    """How the student was trained whose graphs are in the bundles."""
    return Training(**asdict(built.student)) if built.student else None


def import_results(
    candidates: Sequence[Candidate], folders: Sequence[Path], trial: Trial, target: Target, built: Manifest
) -> list[Outcome]:
    """What became of the candidates: as the manifest of their build says, and by what the bundles in `folders` brought.

    A bundle is taken from the first folder where it went well: later ones have what came earlier. A candidate that
    failed on the device, or did not run, has that as its failure; so has one whose bundle is of another build, ran on
    another device, or came back damaged. Raises PackError where nothing is left, or of different devices.
    """
    records = {record.id: record for record in built.candidates}
    recalled = [_recall(candidate, records[candidate.id]) for candidate in candidates if candidate.id in records]
    bundles, folder = list_bundle_files(built), folders[0]
    places = {name: find_bundle(name, folders, partial(_is_own, bundles[name], built.jobs_key)) for name in bundles}
    absent = [name for name, place in places.items() if not (place / "result.json").is_file()]

    def take(outcome: Outcome) -> Outcome:
        name = outcome.candidate.id
        if name not in bundles:
            return outcome
        if name in absent:
            return replace(outcome, failure=NOT_RUN)
        return _import_one(outcome, places[name], bundles[name], trial, target, built.jobs_key)

    imported = [take(outcome) for outcome in recalled]
    devices = {outcome.measurement.device: outcome.candidate.id for outcome in imported if outcome.measurement}
    tried = [outcome for outcome in imported if outcome.candidate.id in bundles]
    failures = group_rejections(Rejection(o.candidate.id, o.failure) for o in tried if o.failure is not None)
    if not devices:
        told = "".join(f"\n  {failure.what}: {failure.reason}" for failure in failures)
        raise PackError(
            f"{folder}: none of {len(bundles)} job bundles was measured:{told}",
            hint=RUN_HINT,
        )
    for failure in failures:
        log.info("%s: %s", failure.what, failure.reason)
    brought = [(places[o.candidate.id].parent, o.candidate.id) for o in tried if o.measurement]
    if any(place != folder for place, _ in brought):
        for place in folders:
            if names := [name for where, name in brought if where == place]:
                log.info("from %s: %s", place, ", ".join(names))
    if len(devices) > 1:
        told = ", ".join(f"{device} ({name})" for device, name in sorted(devices.items()))
        raise PackError(f"{folder}: the bundles ran on different devices: {told}", hint="run all on one")
    return imported


def check_device(device: str, target: Target) -> None:
    """Raises PackError where what a result says it ran on is not the `target`, as far as a name can tell.

    The driver's names of Jetsons' GPUs are not known, so that a Jetson is refused what is sure to be something else: a
    CPU, or the GPU of another profile. Engines tell more by their compute capability.
    """
    if target.driver_names:
        is_other = device not in target.driver_names
    elif target.kind == "jetson":
        cards = tuple(name for other in shipped_profiles() for name in other.driver_names)
        is_other = device.startswith(cards) or CPU.search(device) is not None
    else:
        is_other = target.kind == "cuda" and CPU.search(device) is not None
    if is_other:
        raise PackError(
            f"it ran on {device}, which is not {target.name}: name the profile of that device in the spec, and build "
            "again"
        )


def describe_device(outcomes: Sequence[Outcome]) -> dict[str, str]:
    """What the bundles ran on and with, for the environment of a manifest."""
    measured = next(outcome.measurement for outcome in outcomes if outcome.measurement is not None)
    return {"device": measured.device, **{f"{name}{ON_THE_DEVICE}": version for name, version in measured.versions}}


def _take_engine(outcome: Outcome, plan: Path, result: JobResult, target: Target) -> Outcome:
    """The outcome with the engine that the device made of the bundle's graph, and its size.

    Another process of the run built the engine before it was loaded: nobody measured how long loading it alone takes.
    Raises PackError where the engine's stamp says another origin.
    """
    stamp = find_stamp(plan)
    assert stamp is not None, "plans are engines"
    assert outcome.measurement is not None, "the bundle ran"
    used = dict(result.versions).get("tensorrt", stamp.tensorrt)
    if stamp.device != result.device or stamp.tensorrt != used:
        raise PackError(
            f"{plan} is an engine of {stamp.describe()}, and the bundle ran in TensorRT {used} on {result.device}"
        )
    if stamp.compute_capability != (target.compute_capability or stamp.compute_capability):
        raise PackError(f"{plan} is an engine of {stamp.describe()}, and {target.name} has {target.compute_capability}")
    size_mib = sum(file.stat().st_size for file in artifact_files(plan).values()) / 2**20
    measured = replace(outcome.measurement, size_mib=size_mib, load_s=None)
    return replace(outcome, model=plan, measurement=measured)


def _recall(candidate: Candidate, record: CandidateRecord) -> Outcome:
    """What the build found out about the candidate, apart from its graph, which is in its bundle."""
    quality = record.measurements.quality if record.measurements else None
    score = QualityScore(**asdict(quality)) if quality else None
    return Outcome(candidate, None, None, score, record.failure, record.warnings)


def _is_own(files: Mapping[str, str], jobs_key: str, bundle: Path) -> bool:
    """Whether the bundle is of this build, every file of it."""
    try:
        read_unchanged_job(bundle, files, jobs_key)
    except PackError:
        return False
    return True


def _import_one(
    outcome: Outcome, bundle: Path, files: Mapping[str, str], trial: Trial, target: Target, jobs_key: str
) -> Outcome:
    """The outcome with what its bundle brought; whatever is wrong with that is its failure, never the others'."""
    try:
        return _take_result(outcome, bundle, read_unchanged_job(bundle, files, jobs_key), trial, target)
    except DataError:
        raise  # the user's samples are at fault, not the candidate
    except PackError as error:
        return replace(outcome, failure=str(error).replace(f"{bundle}{os.sep}", ""))


def _take_result(outcome: Outcome, bundle: Path, job: Job, trial: Trial, target: Target) -> Outcome:
    result = read_returned(bundle, job)
    if result.status != "ok":
        raise PackError(f"on the device: {result.failure or result.status}")
    check_device(result.device, target)
    graph = bundle / job.model
    outcome = replace(outcome, model=graph, measurement=summarize_runs(bundle, [result]))
    plan = graph.with_name(ENGINE_FILE)
    if plan.is_file():
        outcome = _take_engine(outcome, plan, result, target)
    elif find_runtime(outcome.candidate.runtime).model_filename == ENGINE_FILE:
        raise PackError(f"the engine did not come back with the bundle: {plan} is missing")
    assert result.answers is not None, "their absence was refused"
    ingested = trial.ingested
    source, names = ingested.source, ingested.source.info.labels
    score = score_answers(trial.metric, ingested.answers, result.answers, source.answer, trial.labels, names)
    log.info("%s, as the device answers: %s", outcome.candidate.id, describe_score(score))
    return replace(outcome, quality=score, answers=result.answers, failure=None)
