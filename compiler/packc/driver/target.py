"""Builds one target: plan, ingest, evaluate, select, package, verify, publish.

Everything is made in a staging folder and published at the end, so the last good package stays until the new one is
whole. A build that ends early (a promise missed, a device elsewhere) still leaves a manifest and a report.
"""

from __future__ import annotations

import logging
import platform
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from packc.cache import Cache, cache_key
from packc.candidate import Candidate, Rejection
from packc.data.workload import make_latency_inputs, measure_ranges, workload_cases
from packc.driver.best import publish_best
from packc.driver.distill import distill_plan
from packc.driver.endings import (
    BuildOptions,
    End,
    TargetResult,
    publish_jobs,
    publish_plan,
)
from packc.driver.evaluate import Trial
from packc.driver.halving import Search, log_duration, search_candidates
from packc.driver.imported import (
    describe_device,
    import_results,
    read_origin,
    recall_rejections,
    recall_training,
    refuse_foreign_bundles,
)
from packc.driver.inputs import BuildInputs
from packc.driver.job_folder import JOB_FOLDER, find_jobs, keep_results, refuse_to_lose_results
from packc.driver.limits import find_roofline
from packc.driver.packing import Packing
from packc.driver.sensitivity import find_sensitivity
from packc.errors import UsageError
from packc.gpu import find_gpu
from packc.host import probe_host
from packc.ingest.fingerprint import hash_file
from packc.ingest.ingest import Ingested, ingest_model
from packc.jobs.local import find_memory_limit_mib
from packc.package.manifest import Manifest, State
from packc.package.manifest_file import check_files, read_manifest
from packc.package.pipelines.choice import choose_pipeline
from packc.package.publish import staging_dir
from packc.plan import Plan, make_plan
from packc.runtimes import find_runtime
from packc.search import TimeLimit, order_candidates
from packc.server.client import connect
from packc.server.environment import require_server
from packc.serving import ServingPlan, plan_serving
from packc.serving.choices import list_batches

log = logging.getLogger(__name__)


def build_target(inputs: BuildInputs, final: Path, options: BuildOptions, cache: Cache) -> TargetResult:
    """Builds the package of one target at `final`, or finds it there unchanged.

    Raises PackError for what concerns the whole target: the model cannot be exported, no server is there, ...
    """
    spec, target = inputs.spec, inputs.target
    built = read_origin(inputs, final) if options.jobs is not None else None
    if built is None:
        for folder in dict.fromkeys((final, find_jobs(final))):
            if (current := _find_current(folder, inputs)) and _is_accepted(current, options):
                log.info("%s: nothing changed since the last build", spec.target)
                ends: dict[State, End] = {"planned": "planned", "built": "built"}
                return TargetResult(spec.target, ends.get(current.state, "unchanged"), folder, current)
        refuse_to_lose_results(final, inputs)
    with staging_dir(final):
        pass  # says now, not after minutes of work, that nothing can be written there
    pipeline = choose_pipeline(spec.serve.pipeline, inputs.info)
    plan = make_plan(inputs.info, target, spec.optimize)
    if not plan.candidates:
        return publish_plan(inputs, plan, final)
    if target.is_here and options.verify:
        _check_server(options, cache)
    with log_duration("export and reference answers"):
        ingested = ingest_model(inputs.info, inputs.evaluation, inputs.calibration, cache)
    if built is not None:  # the bundles have the student's graph; all that is asked of it are the model's own inputs
        ingested, training = replace(ingested, student=ingested.source), recall_training(built)
    else:
        plan, distilled = distill_plan(plan, inputs, cache)
        training = distilled.training if distilled else None
        ingested = replace(ingested, student=distilled.source if distilled else None)
    plan = drop_pointless(plan, ingested)
    trial = make_trial(inputs, ingested, cache, verify=options.verify)
    rule = plan_serving(spec, target, ingested.source)
    plan = replace(plan, candidates=tuple(fit_shapes(plan.candidates, trial, rule)))
    with log_duration("finding the physical limit"):
        roofline = find_roofline(trial, target)
    plan = replace(plan, candidates=order_candidates(plan.candidates, roofline))
    if not target.is_here and options.jobs is None:
        return publish_jobs(inputs, plan, trial, final, options.import_arguments, training)
    limit = TimeLimit(spec.optimize.max_minutes)
    if built is not None and options.jobs is not None:
        kept = find_jobs(final)
        folders = tuple(dict.fromkeys((options.jobs, kept / JOB_FOLDER)))
        if len(folders) > 1:
            refuse_foreign_bundles(options.jobs, built)
        outcomes = import_results(plan.candidates, folders, trial, target, built)
        keep_results(outcomes, options.jobs, built, kept)
        search = Search(outcomes, recall_rejections(built))
    else:
        trial = replace(trial, roofline=roofline)
        search = search_candidates(plan.candidates, trial)
    found = inputs.make_findings(search.outcomes, tuple(dict.fromkeys((*plan.rejected, *search.skipped))))
    if options.jobs is not None:
        found = replace(found, environment={**found.environment, **describe_device(search.outcomes)})
    sensitivity = find_sensitivity(search.outcomes, trial)
    findings = replace(
        found,
        verify=options.verify,
        roofline=roofline,
        sensitivity=sensitivity,
        training=training,
        cut=search.cut,
    )
    with log_duration("packaging and verifying"):
        return publish_best(Packing(inputs, trial, findings, rule, pipeline, options, limit), final)


def _find_current(final: Path, inputs: BuildInputs) -> Manifest | None:
    """The manifest of the package at `final` if it was built from the same inputs, on a device with no more to be said
    against its figures, such as others at work on it, and is still whole."""
    try:
        manifest = read_manifest(final)
        is_as_good = manifest.build_key == inputs.key and set(manifest.device_notes) <= set(inputs.target.warnings)
        return manifest if is_as_good and not check_files(final, manifest) else None
    except (UsageError, OSError):  # there is none, or another build exchanges it at this moment
        return None


def _is_accepted(manifest: Manifest, options: BuildOptions) -> bool:
    """Whether a build with these options may end with that package: one with a miss needs `allow_miss`."""
    return manifest.verdict.met is not False or options.allow_miss


def _check_server(options: BuildOptions, cache: Cache) -> None:
    """Says now, not after minutes of work, that there is no server to verify with."""
    for url in options.urls:
        with connect(url) as client:
            client.server_version()
    if not options.urls:
        require_server(cache)


def drop_pointless(plan: Plan, ingested: Ingested) -> Plan:
    """The plan without what the exported graph shows to be the same as another candidate."""
    judged = [(c, find_runtime(c.runtime).explain_pointless(c, ingested.find_source(c))) for c in plan.candidates]
    kept = tuple(candidate for candidate, why in judged if why is None)
    dropped = tuple(Rejection(candidate.id, why) for candidate, why in judged if why is not None)
    return replace(plan, candidates=kept, rejected=(*plan.rejected, *dropped))


def fit_shapes(candidates: Sequence[Candidate], trial: Trial, rule: ServingPlan) -> Iterator[Candidate]:
    """The candidates, those of runtimes that compile for ranges of shapes told what the workload and the server send.

    `rule` is the plan that the workload alone gives: a server may make larger batches than any request holds.
    """
    most_batch = max(list_batches(trial.spec, rule))
    ingested = trial.ingested
    fitted = [candidate for candidate in candidates if find_runtime(candidate.runtime).is_fitted]
    sources = {candidate.source: ingested.find_source(candidate) for candidate in fitted}
    ranges = {n: measure_ranges(s, trial.cases, most_batch, ingested.inputs) for n, s in sources.items()}
    for candidate in candidates:
        runtime, settings = find_runtime(candidate.runtime), trial.spec.optimize.tensorrt
        yield runtime.fit_shapes(candidate, ranges[candidate.source], settings) if candidate in fitted else candidate


def make_trial(inputs: BuildInputs, ingested: Ingested, cache: Cache, *, verify: bool = False) -> Trial:
    """What the candidates are tried on: the ingested model and data, at the workload's shapes, on this machine."""
    cases = workload_cases(inputs.spec, ingested.inputs, inputs.info)
    machine = inputs.target if inputs.target.is_here else probe_host()
    gpu = find_gpu() if machine.kind in ("cuda", "jetson") else None
    key = cache_key(cases=[str(case) for case in cases], inputs=hash_file(ingested.inputs))

    def make(folder: Path) -> None:
        make_latency_inputs(cases, ingested.inputs, ingested.source, folder / "latency.npz")

    return Trial(
        spec=inputs.spec,
        ingested=ingested,
        metric=inputs.metric,
        labels=inputs.evaluation.labels,
        cases=cases,
        latency_inputs=cache.get_or_make("latency", key, make) / "latency.npz",
        threads=machine.session_threads,
        device=f"{platform.node()}: {machine.name}" + (f", {gpu.conditions}" if gpu else ""),
        cache=cache,
        memory_limit_mib=find_memory_limit_mib(),
        verify=verify,
        is_here=inputs.target.is_here,
        is_shared=gpu is not None and gpu.processes > 0,
        exact_int8=machine.saturates_int8 and not inputs.target.saturates_int8,
    )
