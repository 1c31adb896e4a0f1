"""Packages the best candidate, has a real server answer through it, and publishes it if every promise is kept."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from packc.driver.endings import TargetResult, publish_miss, publish_package
from packc.driver.halving import time_outpaced
from packc.driver.mixed import list_kept
from packc.driver.packing import Packing, pack_candidate
from packc.driver.verdict import record_findings
from packc.driver.ways import WayFinder
from packc.package.manifest import Manifest, ServedRecord, State
from packc.package.publish import staging_dir
from packc.passes import find_pass
from packc.promises import format_figure
from packc.select import NEAREST, Outcome, Verdict, classify, judge_served, select
from packc.server.client import RequestFailed
from packc.server.load import ServerFailed
from packc.server.process import ServerStopped
from packc.server.replay import GoldenMismatch
from packc.server.verify import read_workload, verify_package
from packc.serving import ServingPlan
from packc.serving.search import Tried
from packc.spec.model import TargetSpec

log = logging.getLogger(__name__)

NO_MORE_PLANS = "no further way of serving was tried"


@dataclass(frozen=True, slots=True)
class Attempt:
    """A candidate that was packaged, and the verdict on it as the server's figures leave it."""

    outcome: Outcome
    """With what it broke, or how it failed, through the server."""
    plan: ServingPlan
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
    """Packages the selection's choice, or a near rival that does better as served, by its best serving plan.

    If it breaks a promise through the server, those that may keep it have their turn.
    One that the server cannot load, or whose golden answers differ, costs only itself. When none keeps every promise
    nothing is published, or, with `allow_miss`, the one that comes nearest.
    """
    rivals = packing.findings.outcomes
    attempts: list[Attempt] = []
    finder = WayFinder(packing)
    tried: tuple[Tried, ...] = ()
    while (verdict := _choose(rivals, packing, attempts)).chosen is not None:
        chosen = next(outcome for outcome in rivals if outcome.candidate.id == verdict.chosen)
        service = finder.choose(chosen, rivals)
        tried = service.tried
        if service.is_cut and NO_MORE_PLANS not in packing.findings.cut:
            cut = (*packing.findings.cut, NO_MORE_PLANS)
            packing = replace(packing, findings=replace(packing.findings, cut=cut))
        if service.outcome is not chosen:
            verdict, chosen = _prefer(service.outcome, chosen, packing), service.outcome
        with staging_dir(final) as staging:
            pack_candidate(packing, chosen, service.plan, staging)
            attempt = _judge(packing, chosen, service.plan, verdict, staging)
            if attempt.verdict.met:
                record = _record(packing, _remember(attempt, attempts), attempts, tried)
                return publish_package(staging, final, record)
        log.info("%s", _describe_attempt(attempt))
        attempts.append(attempt)
        others = [outcome for outcome in rivals if outcome is not chosen]
        rivals = _list_rivals(others, attempt, packing.findings.local_spec)
        if not any(classify(outcome, packing.findings.local_spec) == "kept" for outcome in rivals):
            packing, others = _time_outpaced(packing, others, attempt)
            rivals = _list_rivals(others, attempt, packing.findings.local_spec)
    if attempts:
        return _publish_nearest(packing, attempts, finder, tried, final)
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
    return _add_caveat(verdict, chosen, packing) if chosen else verdict


def _prefer(winner: Outcome, chosen: Outcome, packing: Packing) -> Verdict:
    """The verdict for a rival that does better as served than the selection's choice."""
    findings, goal = packing.findings, packing.inputs.spec.optimize.goal
    how = "better as served" if packing.options.verify else "predicted to serve better"
    why = f"{how} than {chosen.candidate.id}, which one caller would put first for its {goal}"
    generated = packing.inputs.evaluation.is_generated
    verdict = select(findings.outcomes, findings.local_spec, generated, [winner], why)
    return _add_caveat(verdict, winner, packing)


def _add_caveat(verdict: Verdict, chosen: Outcome, packing: Packing) -> Verdict:
    candidate = chosen.candidate
    is_calibrated = any(find_pass(step.name).calibrates for step in candidate.passes)
    if candidate.build is not None:
        is_calibrated |= candidate.build.options.get("quantize") == "full"
    caveats = []
    if candidate.source == "student" and packing.inputs.trains_on_evaluation:
        caveats.append("quality was judged on the samples that the student was trained on")
    if is_calibrated and packing.inputs.calibrates_on_evaluation:
        caveats.append("quality was judged on the samples that quantization was calibrated on")
    if list_kept(candidate) and packing.inputs.calibrates_on_evaluation:
        caveats.append("quality was judged on the samples that its layers in higher precision were chosen on")
    return replace(verdict, reasons=(*verdict.reasons, *caveats))


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


def _publish_nearest(
    packing: Packing, attempts: Sequence[Attempt], finder: WayFinder, tried: Sequence[Tried], final: Path
) -> TargetResult:
    """Ends a build whose every attempt missed a promise: the verdict is the nearest one's, and names the others."""
    ranked = sorted(attempts, key=lambda attempt: attempt.distance)
    nearest = _add_unserved(_add_kept_load(ranked[0], packing, finder), attempts, packing)
    ranked[0] = nearest
    if packing.options.allow_miss and not nearest.has_failed:
        with staging_dir(final) as staging:
            pack_candidate(packing, nearest.outcome, nearest.plan, staging)
            record = _record(packing, _remember(nearest, ranked), attempts, tried)
            return publish_package(staging, final, record)
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
    record = _record(packing, replace(nearest, verdict=verdict), attempts, tried)
    return publish_miss(verdict, replace(record, state="measured"), final)


def _add_kept_load(attempt: Attempt, packing: Packing, finder: WayFinder) -> Attempt:
    """With the load at which the server would keep the latency budget, where it is the load that is too much."""
    if not attempt.served or packing.options.urls or all(m.promise != "latency_ms" for m in attempt.verdict.misses):
        return attempt
    sentence = _describe_kept_load(attempt, packing, finder)
    first, *others = attempt.verdict.reasons
    return (
        replace(attempt, verdict=replace(attempt.verdict, reasons=(first, sentence, *others))) if sentence else attempt
    )


def _add_unserved(nearest: Attempt, attempts: Sequence[Attempt], packing: Packing) -> Attempt:
    """With those that keep every promise without a server, and had no turn because faster ones were too slow there."""
    findings, served = packing.findings, {attempt.outcome.candidate.id for attempt in attempts}
    left = [o.candidate.id for o in findings.outcomes if classify(o, findings.local_spec) == "kept"]
    left = [name for name in left if name not in served]
    if not left:
        return nearest
    reasons = (*nearest.verdict.reasons, f"not served, being slower for one caller: {', '.join(left)}")
    return replace(nearest, verdict=replace(nearest.verdict, reasons=reasons))


def _describe_kept_load(attempt: Attempt, packing: Packing, finder: WayFinder) -> str | None:
    workload, budget = packing.inputs.spec.workload, packing.inputs.spec.budget
    if packing.limit.is_over:
        return "which load keeps the budget was not looked for: the minutes of [optimize] max_minutes were over"
    if workload.concurrency == 1 and not workload.rate_per_s:
        return None
    try:
        kept = finder.find_kept_load(attempt.outcome, attempt.plan)
    except (RequestFailed, ServerFailed, ServerStopped) as error:
        return f"which load keeps the budget could not be measured: {' '.join(str(error).split())}"
    if kept is None:
        where = "at any lower rate that was tried" if workload.rate_per_s else "with one client either"
        return f"p{budget.percentile:g} is not kept {where}"
    load = f"{format_figure(kept.load)} requests/s" if workload.rate_per_s else _count_clients(int(kept.load))
    latency = f"p{budget.percentile:g} {format_figure(kept.figures.latency_ms)} ms"
    return f"kept up to {load}: {latency}, {format_figure(kept.figures.throughput_per_s)} samples/s"


def _count_clients(count: int) -> str:
    return f"{count} client{'' if count == 1 else 's'}"


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


def _record(packing: Packing, attempt: Attempt, attempts: Sequence[Attempt], tried: Sequence[Tried]) -> Manifest:
    """The manifest with `attempt`'s verdict, and every attempted candidate as the server left it."""
    state: State = "verified" if attempt.served else "measured"
    attempted = {item.outcome.candidate.id: item.outcome for item in attempts}
    outcomes = [attempted.get(outcome.candidate.id, outcome) for outcome in packing.findings.outcomes]
    findings = replace(packing.findings, outcomes=outcomes)
    return record_findings(findings, state, attempt.verdict, attempt.served, attempt.plan, tried)


def _judge(packing: Packing, chosen: Outcome, plan: ServingPlan, verdict: Verdict, package: Path) -> Attempt:
    """Has a real server answer through the package, unless the user wants none; its figures decide."""
    if not packing.options.verify:
        return Attempt(chosen, plan, verdict, None)
    inputs = packing.inputs
    try:
        verified = verify_package(
            package,
            inputs.spec.model.name,
            read_workload(inputs.spec),
            chosen.candidate.precision,
            evaluation=packing.evaluation,
            traffic_data=inputs.traffic,
            urls=packing.options.urls,
            cache=packing.trial.cache,
        )
    except (GoldenMismatch, RequestFailed, ServerFailed, ServerStopped) as error:
        failure = " ".join(str(error).split())
        failed = Verdict(False, None, (f"{chosen.candidate.id} failed as served: {failure}",), (), "failed")
        return Attempt(replace(chosen, failure=failure), plan, failed, None)
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
    return Attempt(replace(chosen, served_misses=judged.misses if verdict.met else ()), plan, judged, served)
