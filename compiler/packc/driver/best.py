"""Packages the best candidate, has a real server answer through it, and publishes it if every promise is kept."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from packc.driver.endings import BuildOptions, TargetResult, publish_miss, publish_package
from packc.driver.evaluate import Trial
from packc.driver.halving import time_outpaced
from packc.driver.inputs import BuildInputs, list_versions
from packc.driver.verdict import Findings, record_findings
from packc.package.golden import make_golden
from packc.package.manifest import Manifest, ServedRecord, State
from packc.package.pipelines.choice import ChosenPipeline
from packc.package.publish import staging_dir
from packc.package.write import write_package
from packc.passes import find_pass
from packc.runtimes import find_runtime
from packc.samples import iter_samples
from packc.select import NEAREST, Outcome, Verdict, classify, judge_served, select
from packc.server.client import RequestFailed
from packc.server.load import ServerFailed
from packc.server.process import ServerStopped
from packc.server.replay import GoldenMismatch
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
    """With what it broke, or how it failed, through the server."""
    verdict: Verdict
    served: ServedRecord | None
    """None where no server was asked, and where none could answer."""

    @property
    def has_failed(self) -> bool:
        return self.outcome.failure is not None

    @property
    def distance(self) -> float:
        """How far off its worst promise is, as a ratio."""
        if self.has_failed:
            return float("inf")
        return max((miss.ratio for miss in self.verdict.misses), default=1.0)


def publish_best(packing: Packing, final: Path) -> TargetResult:
    """Packages the selection's choice; if it breaks a promise as served, those that may keep it have their turn.

    One that the server cannot load, or whose golden answers differ, costs only itself. When none keeps every promise
    nothing is published, or, with `allow_miss`, the one that comes nearest.
    """
    rivals = packing.findings.outcomes
    attempts: list[Attempt] = []
    while (verdict := _choose(rivals, packing, attempts)).chosen is not None:
        chosen = next(outcome for outcome in rivals if outcome.candidate.id == verdict.chosen)
        with staging_dir(final) as staging:
            _write(packing, chosen, staging)
            attempt = _judge(packing, chosen, verdict, staging)
            if attempt.verdict.met:
                return publish_package(staging, final, _record(packing, _remember(attempt, attempts), attempts))
        log.info("%s", _describe_attempt(attempt))
        attempts.append(attempt)
        others = [outcome for outcome in rivals if outcome is not chosen]
        rivals = _list_rivals(others, attempt, packing.findings.local_spec)
        if not any(classify(outcome, packing.findings.local_spec) == "kept" for outcome in rivals):
            packing, others = _time_outpaced(packing, others, attempt)
            rivals = _list_rivals(others, attempt, packing.findings.local_spec)
    if attempts:
        return _publish_nearest(packing, attempts, final)
    return publish_miss(verdict, record_findings(packing.findings, "measured", verdict), final)


def _choose(rivals: Sequence[Outcome], packing: Packing, attempts: Sequence[Attempt]) -> Verdict:
    """The selection's verdict; with `allow_miss` it chooses the nearest where nothing keeps every promise."""
    inputs, findings = packing.inputs, packing.findings
    verdict = select(
        findings.outcomes, findings.local_spec, inputs.evaluation.is_generated, rivals if attempts else None
    )
    if verdict.chosen is None and packing.options.allow_miss and verdict.misses:
        answered = {outcome.candidate.id for outcome in rivals if outcome.answers is not None}
        verdict = replace(verdict, chosen=next((m.candidate for m in verdict.misses if m.candidate in answered), None))
    chosen = next((outcome for outcome in rivals if outcome.candidate.id == verdict.chosen), None)
    is_calibrated = chosen is not None and any(find_pass(step.name).calibrates for step in chosen.candidate.passes)
    if is_calibrated and inputs.calibrates_on_evaluation:
        caveat = "quality was judged on the samples that quantization was calibrated on"
        return replace(verdict, reasons=(*verdict.reasons, caveat))
    return verdict


def _list_rivals(others: Sequence[Outcome], attempt: Attempt, spec: TargetSpec) -> Sequence[Outcome]:
    """Those that may do as served what `attempt` did not: all after a failure; of the kept ones the faster after a
    missed budget, and all of them after missed quality."""
    if attempt.has_failed:
        return others
    kept = [outcome for outcome in others if classify(outcome, spec) == "kept"]
    if attempt.verdict.missed != "budget":
        return kept
    return [outcome for outcome in kept if _typical_p50_ms(outcome) < _typical_p50_ms(attempt.outcome)]


def _time_outpaced(packing: Packing, others: Sequence[Outcome], attempt: Attempt) -> tuple[Packing, list[Outcome]]:
    """With a long timing for those of `others` that only had a short one; after a missed budget, for the faster."""
    is_late = not attempt.has_failed and attempt.verdict.missed == "budget"
    limit_ms = _typical_p50_ms(attempt.outcome) if is_late else float("inf")
    wanted = {outcome.candidate.id for outcome in others if _typical_p50_ms(outcome) < limit_ms}
    findings = replace(packing.findings, outcomes=time_outpaced(packing.findings.outcomes, wanted, packing.trial))
    left = {outcome.candidate.id for outcome in others}
    return replace(packing, findings=findings), [o for o in findings.outcomes if o.candidate.id in left]


def _typical_p50_ms(outcome: Outcome) -> float:
    return outcome.measurement.latencies[0].p50_ms if outcome.measurement else float("inf")


def _publish_nearest(packing: Packing, attempts: Sequence[Attempt], final: Path) -> TargetResult:
    """Ends a build whose every attempt missed a promise: the verdict is the nearest one's, and names the others."""
    ranked = sorted(attempts, key=lambda attempt: attempt.distance)
    nearest = ranked[0]
    if packing.options.allow_miss and not nearest.has_failed:
        with staging_dir(final) as staging:
            _write(packing, nearest.outcome, staging)
            return publish_package(staging, final, _record(packing, _remember(nearest, attempts), attempts))
    verdict = replace(
        nearest.verdict,
        chosen=None,
        reasons=(
            *nearest.verdict.reasons,
            *(f"next: {_describe_attempt(attempt)}" for attempt in ranked[1:NEAREST] if not attempt.has_failed),
            *(_describe_attempt(attempt) for attempt in ranked if attempt.has_failed and attempt is not nearest),
        ),
        misses=tuple(miss for attempt in ranked[:NEAREST] for miss in attempt.verdict.misses),
    )
    record = _record(packing, replace(nearest, verdict=verdict), attempts)
    return publish_miss(verdict, replace(record, state="measured"), final)


def _remember(attempt: Attempt, attempts: Sequence[Attempt]) -> Attempt:
    """`attempt`, its verdict telling what came of the others too."""
    others = [item for item in attempts if item is not attempt]
    reasons = (*attempt.verdict.reasons, *(f"also tried: {_describe_attempt(item)}" for item in others))
    return replace(attempt, verdict=replace(attempt.verdict, reasons=reasons))


def _describe_attempt(attempt: Attempt) -> str:
    """The candidate and which promises it missed as served, with the figures, or how it failed."""
    if attempt.has_failed:
        return attempt.verdict.reasons[0]
    missed = [reason for reason in attempt.verdict.reasons if re.match("(budget|quality) missed: ", reason)]
    return "; ".join(missed)


def _record(packing: Packing, attempt: Attempt, attempts: Sequence[Attempt]) -> Manifest:
    """The manifest with `attempt`'s verdict, and every attempted candidate as the server left it."""
    state: State = "verified" if attempt.served else "measured"
    tried = {item.outcome.candidate.id: item.outcome for item in attempts}
    outcomes = [tried.get(outcome.candidate.id, outcome) for outcome in packing.findings.outcomes]
    findings = replace(packing.findings, outcomes=outcomes)
    return record_findings(findings, state, attempt.verdict, attempt.served, packing.serving)


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
        warmup=list(islice(iter_samples(ingested.inputs), WARMUP_SAMPLES)),
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
    try:
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
    except (GoldenMismatch, RequestFailed, ServerFailed, ServerStopped) as error:
        failure = " ".join(str(error).split())
        failed = Verdict(False, None, (f"{chosen.candidate.id} failed as served: {failure}",), (), "failed")
        return Attempt(replace(chosen, failure=failure), failed, None)
    served = verified.record
    judged = judge_served(
        verdict,
        inputs.spec,
        served.latency_ms,
        served.throughput_per_s,
        verified.quality,
        requests=served.samples,
        noisy=served.noisy,
    )
    return Attempt(replace(chosen, served_misses=judged.misses if verdict.met else ()), judged, served)
