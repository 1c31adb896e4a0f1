"""Packages the best candidate, has a real server answer through it, and publishes it if every promise is kept."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from packc.driver.endings import BuildOptions, TargetResult, publish_miss, publish_package
from packc.driver.evaluate import Trial
from packc.driver.inputs import BuildInputs, list_versions
from packc.driver.verdict import Findings, record_findings
from packc.package.golden import make_golden
from packc.package.manifest import Manifest, ServedRecord, State
from packc.package.pipelines.choice import ChosenPipeline
from packc.package.publish import staging_dir
from packc.package.write import write_package
from packc.runtimes import find_runtime
from packc.samples import load_samples
from packc.select import NEAREST, Outcome, Verdict, classify, judge_served, select
from packc.server.verify import Evaluation, read_workload, verify_package
from packc.serving import ServingPlan
from packc.spec.model import TargetSpec

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


@dataclass(frozen=True, slots=True)
class Attempt:
    """A candidate that was packaged, and the verdict on it as the server's figures leave it."""

    outcome: Outcome
    verdict: Verdict
    served: ServedRecord | None
    """None where no server was asked."""

    @property
    def distance(self) -> float:
        """How far off its worst promise is, as a ratio."""
        return max((miss.ratio for miss in self.verdict.misses), default=1.0)


def publish_best(packing: Packing, final: Path) -> TargetResult:
    """Packages the selection's choice; if it breaks a promise as served, those that may keep it have their turn.

    When none keeps every promise nothing is published, or, with `allow_miss`, the one that comes nearest.
    """
    rivals = packing.findings.outcomes
    attempts: list[Attempt] = []
    while True:
        verdict = _choose(rivals, packing)
        if verdict.chosen is None:
            return publish_miss(verdict, record_findings(packing.findings, "measured", verdict), final)
        chosen = next(outcome for outcome in rivals if outcome.candidate.id == verdict.chosen)
        with staging_dir(final) as staging:
            _write(packing, chosen, staging)
            attempt = _judge(packing, chosen, verdict, staging)
            if attempt.verdict.met:
                return publish_package(staging, final, _record(packing, attempt))
        attempts.append(attempt)
        rivals = _list_rivals(rivals, attempt, packing.inputs.spec)
        if not rivals:
            return _publish_nearest(packing, attempts, final)
        log.info("%s: %s; trying another candidate", chosen.candidate.id, _describe_miss(attempt))


def _choose(outcomes: Sequence[Outcome], packing: Packing) -> Verdict:
    """The selection's verdict; with `allow_miss` it chooses the nearest where nothing keeps every promise."""
    verdict = select(outcomes, packing.inputs.spec, packing.inputs.evaluation.is_generated)
    if verdict.chosen is None and packing.options.allow_miss and verdict.misses:
        return replace(verdict, chosen=verdict.misses[0].candidate)
    return verdict


def _list_rivals(outcomes: Sequence[Outcome], attempt: Attempt, spec: TargetSpec) -> list[Outcome]:
    """Those that may keep as served what `attempt` did not: of the kept ones the faster, or for quality all others."""
    kept = [o for o in outcomes if o is not attempt.outcome and classify(o, spec) == "kept"]
    if attempt.verdict.missed != "budget":
        return kept
    return [outcome for outcome in kept if _typical_p50_ms(outcome) < _typical_p50_ms(attempt.outcome)]


def _typical_p50_ms(outcome: Outcome) -> float:
    return outcome.measurement.latencies[0].p50_ms if outcome.measurement else float("inf")


def _publish_nearest(packing: Packing, attempts: Sequence[Attempt], final: Path) -> TargetResult:
    """Ends a build whose every attempt missed a promise: the verdict is the nearest one's, and names the others."""
    ranked = sorted(attempts, key=lambda attempt: attempt.distance)
    nearest = ranked[0]
    if packing.options.allow_miss:
        with staging_dir(final) as staging:
            _write(packing, nearest.outcome, staging)
            return publish_package(staging, final, _record(packing, nearest))
    verdict = replace(
        nearest.verdict,
        chosen=None,
        reasons=(
            *nearest.verdict.reasons,
            *(f"nearest: {attempt.outcome.candidate.id}: {_describe_miss(attempt)}" for attempt in ranked[:NEAREST]),
        ),
        misses=tuple(miss for attempt in ranked[:NEAREST] for miss in attempt.verdict.misses),
    )
    return publish_miss(verdict, _record(packing, replace(nearest, verdict=verdict)), final)


def _describe_miss(attempt: Attempt) -> str:
    """The first of its verdict's reasons that says a promise is missed."""
    reasons = attempt.verdict.reasons
    return next((reason for reason in reasons if " missed: " in reason), reasons[0])


def _record(packing: Packing, attempt: Attempt) -> Manifest:
    state: State = "verified" if attempt.served else "measured"
    return record_findings(packing.findings, state, attempt.verdict, attempt.served, packing.serving)


def _write(packing: Packing, chosen: Outcome, staging: Path) -> None:
    """Fills `staging` with the candidate's package."""
    inputs, ingested = packing.inputs, packing.trial.ingested
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


def _judge(packing: Packing, chosen: Outcome, verdict: Verdict, package: Path) -> Attempt:
    """Has a real server answer through the package, unless the user wants none; its figures decide."""
    if not packing.options.verify:
        return Attempt(chosen, verdict, None)
    inputs, ingested = packing.inputs, packing.trial.ingested
    verified = verify_package(
        package,
        inputs.spec.model.name,
        read_workload(inputs.spec),
        chosen.candidate.precision,
        evaluation=Evaluation(ingested.source, inputs.evaluation, ingested.inputs, ingested.answers, inputs.metric),
        traffic_data=inputs.traffic,
        urls=packing.options.urls,
        cache=packing.trial.cache,
    )
    served = verified.record
    judged = judge_served(verdict, inputs.spec, served.latency_ms, served.throughput_per_s, verified.quality)
    return Attempt(chosen, judged, served)
