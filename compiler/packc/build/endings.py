"""The ways in which a target's build ends, and what each leaves on disk.

published      the package, at the target's folder
missed         manifest.json and report.html, beside it at `<target>-missed`; the last good package stays
built          job bundles to run on the device that is elsewhere, at the target's folder
planned        manifest.json and report.html: nothing can be built here for this target
"""

from __future__ import annotations

import logging
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from packc.build.evaluate import Trial, check_candidate
from packc.build.inputs import BuildInputs
from packc.build.verdict import record_findings
from packc.jobs.bundle import write_bundle
from packc.measure.jobs import timing_job
from packc.package.manifest import Manifest
from packc.package.manifest_file import hash_files, write_manifest
from packc.package.publish import publish, staging_dir
from packc.plan import Plan
from packc.report.html import write_html
from packc.runtimes import find_runtime
from packc.select import Verdict

log = logging.getLogger(__name__)

End = Literal["published", "unchanged", "budget_missed", "quality_missed", "failed", "built", "planned"]


@dataclass(frozen=True, slots=True)
class BuildOptions:
    """How the command line narrows a build."""

    allow_miss: bool = False
    """Publish the nearest candidate when a promise is missed; the miss is written into its manifest."""
    verify: bool = True
    urls: tuple[str, ...] = ()
    """Of a running server to verify with; empty to start one."""


@dataclass(frozen=True, slots=True)
class TargetResult:
    """How one target's build ended."""

    target: str
    end: End
    folder: Path
    """Holds manifest.json and report.html, and the package where one was published."""
    manifest: Manifest


def publish_package(staging: Path, final: Path, manifest: Manifest) -> TargetResult:
    """Makes the package in `staging` the target's, and removes the record of an earlier miss."""
    manifest = _finish(staging, manifest)
    publish(staging, final)
    shutil.rmtree(_missed_folder(final), ignore_errors=True)
    log.info("published %s", final)
    return TargetResult(manifest.target, "published", final, manifest)


def publish_miss(verdict: Verdict, manifest: Manifest, final: Path) -> TargetResult:
    """Leaves the record of a missed promise; the package at `final`, if any, is not touched."""
    ends: dict[str | None, End] = {"budget": "budget_missed", "quality": "quality_missed"}
    folder = _missed_folder(final)
    with staging_dir(folder) as staging:
        manifest = _finish(staging, manifest)
        publish(staging, folder)
    return TargetResult(manifest.target, ends.get(verdict.missed, "failed"), folder, manifest)


def publish_plan(inputs: BuildInputs, plan: Plan, final: Path) -> TargetResult:
    """Leaves the plan for a target that nothing can be built for here."""
    reason = inputs.target.unsupported or f"nothing was built: no runtime here compiles for {inputs.target.name}"
    findings = inputs.make_findings((), plan.rejected)
    manifest = record_findings(findings, "planned", _unjudged(reason))
    with staging_dir(final) as staging:
        manifest = _finish(staging, manifest)
        publish(staging, final)
    return TargetResult(manifest.target, "planned", final, manifest)


def publish_jobs(inputs: BuildInputs, plan: Plan, trial: Trial, final: Path) -> TargetResult:
    """Leaves a job bundle for each candidate whose answers hold, to be measured on the device itself."""
    checked = [check_candidate(candidate, trial) for candidate in plan.candidates]
    findings = inputs.make_findings([replace(c.outcome, measurement=None) for c in checked], plan.rejected)
    kept = [item.outcome for item in checked if item.is_kept]
    reasons = (
        f"not measured: {inputs.target.name} is not this machine; quality was judged here",
        f"run each of the {len(kept)} job bundles in job/ on the device: python3 run.py --rounds 3",
    )
    manifest = record_findings(findings, "built", _unjudged(*reasons))
    with staging_dir(final) as staging:
        for outcome in kept:
            runtime = find_runtime(outcome.candidate.runtime)
            assert outcome.model is not None, "only a lowered candidate was judged"
            options = runtime.job_options(outcome.candidate, trial.threads)
            job = timing_job(outcome.candidate, outcome.model, options, trial.threads, trial.cases, rounds=3)
            folder = staging / "job" / outcome.candidate.id
            write_bundle(folder, job, outcome.model, None, trial.latency_inputs, runtime.engine)
        manifest = _finish(staging, manifest)
        publish(staging, final)
    return TargetResult(manifest.target, "built", final, manifest)


def _unjudged(*reasons: str) -> Verdict:
    return Verdict(met=None, chosen=None, reasons=reasons, misses=(), missed=None)


def _finish(staging: Path, manifest: Manifest) -> Manifest:
    """Writes manifest and report of a folder whose other files are complete."""
    manifest = replace(manifest, files=hash_files(staging))
    write_manifest(staging, manifest)
    write_html(manifest, staging / "report.html")
    return manifest


def _missed_folder(final: Path) -> Path:
    return final.with_name(f"{final.name}-missed")
