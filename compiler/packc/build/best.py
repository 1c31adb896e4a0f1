"""Packages the best candidate, has a real server answer through it, and publishes it if every promise is kept."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from packc.build.endings import BuildOptions, TargetResult, publish_miss, publish_package
from packc.build.evaluate import Trial
from packc.build.inputs import BuildInputs, list_versions
from packc.build.verdict import Findings, record_findings
from packc.package.golden import make_golden
from packc.package.manifest import ServedRecord
from packc.package.pipelines.choice import ChosenPipeline
from packc.package.publish import staging_dir
from packc.package.write import write_package
from packc.runtimes import find_runtime
from packc.samples import load_samples
from packc.select import Outcome, Verdict, judge_served, select
from packc.server.verify import Evaluation, read_workload, verify_package
from packc.serving import ServingPlan

log = logging.getLogger(__name__)

WARMUP_SAMPLES = 32


@dataclass(frozen=True, slots=True)
class Packing:
    """All that goes into the package of one target, whichever candidate it holds."""

    inputs: BuildInputs
    trial: Trial
    findings: Findings
    serving: ServingPlan
    pipeline: ChosenPipeline
    options: BuildOptions


def publish_best(packing: Packing, final: Path) -> TargetResult:
    """Packages the selection's choice; if it breaks a promise as served, the next one that may keep it has its turn."""
    inputs, options = packing.inputs, packing.options
    outcomes = list(packing.findings.outcomes)
    while True:
        verdict = select(outcomes, inputs.spec, inputs.evaluation.is_generated)
        if verdict.chosen is None and options.allow_miss and verdict.misses:
            verdict = replace(verdict, chosen=verdict.misses[0].candidate)
        if verdict.chosen is None:
            manifest = record_findings(packing.findings, "measured", verdict)
            return publish_miss(verdict, manifest, final)
        chosen = next(outcome for outcome in outcomes if outcome.candidate.id == verdict.chosen)
        with staging_dir(final) as staging:
            verdict, served = _package(packing, chosen, verdict, staging)
            manifest = record_findings(
                packing.findings, "verified" if served else "measured", verdict, served, packing.serving
            )
            others = [] if verdict.met else _list_others(outcomes, chosen, verdict)
            if verdict.met or (options.allow_miss and not others):
                return publish_package(staging, final, manifest)
        if not others:
            return publish_miss(replace(verdict, chosen=None), manifest, final)
        log.info("%s: %s; trying another candidate", chosen.candidate.id, verdict.reasons[0])
        outcomes = others


def _list_others(outcomes: Sequence[Outcome], chosen: Outcome, verdict: Verdict) -> list[Outcome]:
    """Candidates that may keep as served what `chosen` did not: the faster ones, or for quality all others."""
    others = [outcome for outcome in outcomes if outcome is not chosen]
    if verdict.missed != "budget":
        return others
    return [outcome for outcome in others if _typical_p50_ms(outcome) < _typical_p50_ms(chosen)]


def _typical_p50_ms(outcome: Outcome) -> float:
    return outcome.measurement.latencies[0].p50_ms if outcome.measurement else float("inf")


def _package(packing: Packing, chosen: Outcome, verdict: Verdict, staging: Path) -> tuple[Verdict, ServedRecord | None]:
    """Writes the package into `staging`; returns the verdict as the server's figures leave it."""
    inputs, trial = packing.inputs, packing.trial
    ingested = trial.ingested
    assert chosen.model is not None, "only a candidate with an artifact is chosen"
    assert chosen.answers is not None, "only a candidate whose answers were judged is chosen"
    write_package(
        staging,
        spec=inputs.spec,
        source=ingested.source,
        model=chosen.model,
        runtime=find_runtime(chosen.candidate.runtime),
        serving=packing.serving,
        warmup=load_samples(ingested.inputs)[:WARMUP_SAMPLES],
        golden=make_golden(
            packing.pipeline, ingested.source, inputs.evaluation, ingested.inputs, chosen.answers, ingested.answers
        ),
        versions=list_versions(),
    )
    if not packing.options.verify:
        return verdict, None
    evaluation = Evaluation(ingested.source, inputs.evaluation, ingested.inputs, ingested.answers, inputs.metric)
    verified = verify_package(
        staging,
        inputs.spec.model.name,
        read_workload(inputs.spec),
        chosen.candidate.precision,
        evaluation=evaluation,
        traffic_data=inputs.traffic,
        urls=packing.options.urls,
        cache=trial.cache,
    )
    served = verified.record
    return judge_served(verdict, inputs.spec, served.latency_ms, served.throughput_per_s, verified.quality), served
