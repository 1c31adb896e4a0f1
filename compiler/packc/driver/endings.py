"""The ways in which a target's build ends, and what each leaves on disk.

published      the package, at the target's folder
missed         manifest.json and report.html, beside it at `<target>.missed`; the last good package stays
built          job bundles to run on the device that is elsewhere, at the target's folder
planned        manifest.json and report.html: nothing can be built here for this target

While a good package is at the folder, job bundles are left beside it at `<target>.jobs`, a plan at `<target>.missed`.
Whatever takes a place but a missed promise's record removes what earlier builds left beside it; that record leaves job
bundles alone, as their results may be what missed, and so does a package of some of their results.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from packc.driver.evaluate import Trial
from packc.driver.halving import check_candidates, list_outpaced
from packc.driver.inputs import BuildInputs
from packc.driver.job_folder import JOB_FOLDER, beside_package, set_aside
from packc.driver.returned import identify_graph
from packc.driver.timing import ROUNDS
from packc.driver.verdict import record_findings
from packc.errors import UsageError
from packc.ingest.student import Training
from packc.jobs.bundle import write_bundle
from packc.jobs.job import Job
from packc.measure.jobs import timing_job
from packc.package.artifact import artifact_files
from packc.package.job_readme import write_job_readme
from packc.package.manifest import Manifest
from packc.package.manifest_file import hash_files, read_manifest, write_manifest
from packc.package.publish import publish, staging_dir
from packc.plan import Plan, explain_nothing
from packc.report.html import write_html
from packc.runtimes import STAND_INS, find_runtime
from packc.search import TimeLimit
from packc.select import NOT_JUDGED, Outcome, Verdict, select
from packc.spec.model import BudgetSection
from packc.target import Target

log = logging.getLogger(__name__)

DEVICE_PERCENTILE = 99.9
"""Of latency, that bundles make calls enough for, whatever the budget's is: it may change while a device is at work."""

End = Literal["published", "unchanged", "budget_missed", "quality_missed", "failed", "built", "planned"]


@dataclass(frozen=True, slots=True)
class BuildOptions:
    """How the command line narrows a build."""

    allow_miss: bool = False
    """Publish the nearest candidate when a promise is missed; the miss is written into its manifest."""
    verify: bool = True
    urls: tuple[str, ...] = ()
    """Of a running server to verify with; empty to start one."""
    import_arguments: tuple[str, ...] = ("spec.toml",)
    """What `pack import` takes to find this build again: the spec, and `--out` where it is not the default."""
    jobs: Path | None = None
    """Folder of job bundles that ran on the device elsewhere: their results are taken, instead of making bundles."""


@dataclass(frozen=True, slots=True)
class TargetResult:
    """How one target's build ended."""

    target: str
    end: End
    folder: Path
    """Holds manifest.json and report.html, and the package where one was published."""
    manifest: Manifest


def publish_package(staging: Path, final: Path, manifest: Manifest) -> TargetResult:
    """Makes the package in `staging` the target's; job bundles stay beside it while it lacks figures of some."""
    beside = beside_package(final) if set_aside(final, manifest) else None
    result = _take_place(staging, final, final, manifest, "published", beside)
    log.info("published %s", final)
    if beside:
        log.info("the job bundles stay, as it has no figures of some")
    return result


def publish_miss(verdict: Verdict, manifest: Manifest, final: Path) -> TargetResult:
    """Leaves the record of a missed promise; the package at `final`, if any, is not touched."""
    ends: dict[str | None, End] = {"budget": "budget_missed", "quality": "quality_missed"}
    folder = _missed_folder(final)
    with staging_dir(folder) as staging:
        return _publish(staging, folder, manifest, ends.get(verdict.missed, "failed"))


def publish_plan(inputs: BuildInputs, plan: Plan, final: Path) -> TargetResult:
    """Leaves the plan for a target that nothing can be built for here."""
    findings = inputs.make_findings((), plan.rejected)
    reason = f"nothing was built for {inputs.target.name}: {explain_nothing(inputs.target)}"
    manifest = record_findings(findings, "planned", _unjudged(reason))
    place = _missed_folder(final) if _holds_package(final) else final
    with staging_dir(place) as staging:
        return _take_place(staging, place, final, manifest, "planned")


def publish_jobs(
    inputs: BuildInputs,
    plan: Plan,
    trial: Trial,
    final: Path,
    arguments: Sequence[str],
    training: Training | None = None,
) -> TargetResult:
    """Leaves a job bundle for each candidate whose answers hold, to be measured on the device itself.

    `arguments` are those of `pack import` in their README; `training` is that of the student which some begin with.
    """
    limit = TimeLimit(trial.spec.optimize.max_minutes)
    unbound = trial.spec.model_copy(update={"budget": BudgetSection()})  # figures of this machine say nothing of it
    search = check_candidates(plan.candidates, replace(trial, spec=unbound), limit)
    outcomes = [replace(outcome, measurement=None) for outcome in search.outcomes]
    findings = inputs.make_findings(outcomes, (*plan.rejected, *search.skipped))
    findings = replace(findings, training=training, cut=limit.tell_untried(search.skipped))
    kept = list_exported(search.outcomes, trial)
    if not kept:
        verdict = select(outcomes, inputs.spec, inputs.evaluation.is_generated)
        return publish_miss(verdict, record_findings(findings, "built", verdict), final)
    how = ", without the int8 saturation of this machine, which the target does not have" if trial.exact_int8 else ""
    if any(outcome.candidate.runtime in STAND_INS for outcome in kept):
        how = " by the kernels of this machine's CPU, which compute tf32 as fp32"
    bundles = f"{len(kept)} job bundles" if len(kept) > 1 else "job bundle"
    reasons = (
        f"not measured: {inputs.target.name} is not this machine; quality was judged here{how}",
        f"run the {bundles} in {JOB_FOLDER}/ there as README.md beside it says, then `pack import`",
    )
    manifest = record_findings(findings, "built", _unjudged(*reasons))
    place = beside_package(final) if _holds_package(final) else final
    with staging_dir(place) as staging:
        for outcome in kept:
            runtime = find_runtime(outcome.candidate.runtime)
            assert outcome.model is not None, "only a lowered candidate was judged"
            job = make_device_job(outcome, trial, inputs.target, inputs.jobs_key)
            folder = staging / JOB_FOLDER / outcome.candidate.id
            files = artifact_files(outcome.model).values()
            samples = trial.ingested.inputs
            write_bundle(folder, job, files, samples, trial.latency_inputs, runtime.engine_files, linked=False)
        runtimes = {outcome.candidate.id: outcome.candidate.runtime for outcome in kept}
        required = {runtime: find_runtime(runtime).require(inputs.info) for runtime in runtimes.values()}
        write_job_readme(staging / "README.md", inputs.spec, inputs.target, runtimes, required, ROUNDS, arguments)
        return _take_place(staging, place, final, manifest, "built")


def make_device_job(outcome: Outcome, trial: Trial, target: Target, jobs_key: str) -> Job:
    """The job that a lowered candidate's bundle does on the device, which answers, too: that is what is judged."""
    candidate, model, threads = outcome.candidate, outcome.model, target.session_threads
    assert model is not None, "only a lowered candidate was judged"
    options = find_runtime(candidate.runtime).job_options(candidate, threads)
    job = timing_job(candidate, model, options, threads, trial.cases, ROUNDS, DEVICE_PERCENTILE)
    outputs = tuple(output.name for output in trial.ingested.source.outputs)
    return replace(job, answer=True, outputs=outputs, build=jobs_key, graph=identify_graph(model))


def list_exported(outcomes: Sequence[Outcome], trial: Trial) -> list[Outcome]:
    """Those that get a bundle: their answers hold here, or only the device can tell."""
    kept = {outcome.candidate.id for outcome in list_outpaced(outcomes, trial)}
    return [o for o in outcomes if o.candidate.id in kept or (o.failure or "").startswith(NOT_JUDGED)]


def _unjudged(*reasons: str) -> Verdict:
    return Verdict(met=None, chosen=None, reasons=reasons, misses=(), missed=None)


def _take_place(
    staging: Path, place: Path, final: Path, manifest: Manifest, end: End, kept: Path | None = None
) -> TargetResult:
    """Puts the finished `staging` at `place`, which is `final` or beside it; what else was beside that goes, but for
    `kept`."""
    result = _publish(staging, place, manifest, end)
    for folder in (_missed_folder(final), beside_package(final)):
        if folder not in (place, kept):
            shutil.rmtree(folder, ignore_errors=True)
    return result


def _publish(staging: Path, folder: Path, manifest: Manifest, end: End) -> TargetResult:
    """Adds manifest and report to `staging`, whose other files are complete, and puts it at `folder`."""
    manifest = replace(manifest, files=hash_files(staging))
    write_manifest(staging, manifest)
    write_html(manifest, staging / "report.html")
    publish(staging, folder)
    return TargetResult(manifest.target, end, folder, manifest)


def _holds_package(final: Path) -> bool:
    """Whether a good package is there, which nothing but another one may replace."""
    try:
        return read_manifest(final).state in ("measured", "verified")
    except UsageError:
        return False


def _missed_folder(final: Path) -> Path:
    return final.with_name(f"{final.name}.missed")
