"""Packages the best candidate, has a real server answer through it, and publishes it if every promise is kept."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from packc.driver.endings import TargetResult, publish_miss, publish_package
from packc.driver.mixed import list_kept
from packc.driver.packing import ONE_FAILED, Packing, PackingFailed, pack_candidate
from packc.driver.turns import Attempt, add_cut, find_rivals, settle_outcomes
from packc.driver.verdict import record_engine, record_findings
from packc.driver.ways import WayFinder
from packc.package.engine_stamp import find_stamp
from packc.package.manifest import Manifest, State
from packc.package.publish import staging_dir
from packc.passes import find_pass
from packc.promises import format_figure
from packc.select import NEAREST, Outcome, Verdict, classify, select
from packc.served import judge_memory, judge_served
from packc.server.verify import read_workload, verify_package
from packc.serving import ServingPlan
from packc.serving.search import Tried

log = logging.getLogger(__name__)

NO_MORE_PLANS = "no further way of serving was tried"


def publish_best(packing: Packing, final: Path) -> TargetResult:
    """Packages the selection's choice, or a near rival that does better as served, by its best serving plan.

    If it breaks a promise through the server, those that may keep it have their turn, and those that were not tried
    because it does the same with fewer precautions.
    One that cannot be packaged or loaded, or whose golden answers differ, costs only itself. When none keeps every
    promise nothing is published, or, with `allow_miss`, the one that comes nearest.
    """
    rivals: Sequence[Outcome] = packing.findings.outcomes
    attempts: list[Attempt] = []
    firsts: set[str] = set()
    finder = WayFinder(packing)
    tried: tuple[Tried, ...] = ()
    while (verdict := _choose(rivals, packing, attempts)).chosen is not None:
        chosen = next(outcome for outcome in rivals if outcome.candidate.id == verdict.chosen)
        firsts.add(chosen.candidate.id)
        service = finder.choose(chosen, rivals)
        tried = service.tried
        if service.is_cut:
            packing = add_cut(packing, NO_MORE_PLANS)
        if service.outcome is not chosen:
            verdict, chosen = _prefer(service.outcome, chosen, packing), service.outcome
        before, instance_mib = verdict, finder.find_known_mib(chosen)
        verdict = judge_memory(before, packing.inputs.spec, service.plan.instances, instance_mib)
        if before.met and not verdict.met:
            chosen = replace(chosen, served_misses=verdict.misses)
        with staging_dir(final) as staging:
            attempt = _try(packing, chosen, service.plan, verdict, staging)
            if attempt.verdict.met:
                record = _record(packing, _remember(attempt, attempts), attempts, tried)
                return publish_package(staging, final, record)
        log.info("%s", _describe_attempt(attempt))
        attempts.append(attempt)
        packing, rivals = find_rivals(packing, attempts, firsts)
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
    except ONE_FAILED as error:
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
    findings = replace(packing.findings, outcomes=settle_outcomes(packing.findings.outcomes, attempts))
    record = record_findings(findings, state, attempt.verdict, attempt.served, attempt.plan, tried)
    stamp = find_stamp(attempt.outcome.model) if attempt.outcome.model else None
    return replace(record, engine=record_engine(stamp)) if stamp else record


def _try(packing: Packing, chosen: Outcome, plan: ServingPlan, verdict: Verdict, staging: Path) -> Attempt:
    """Packages the candidate into the empty `staging` and judges it; what concerns it alone becomes its failure."""
    try:
        pack_candidate(packing, chosen, plan, staging)
        return _judge(packing, chosen, plan, verdict, staging)
    except ONE_FAILED as error:
        failure = " ".join(str(error).split())
        how = "cannot be packaged" if isinstance(error, PackingFailed) else "failed as served"
        failed = Verdict(False, None, (f"{chosen.candidate.id} {how}: {failure}",), (), "failed")
        return Attempt(replace(chosen, failure=failure), plan, failed, None)


def _judge(packing: Packing, chosen: Outcome, plan: ServingPlan, verdict: Verdict, package: Path) -> Attempt:
    """Has a real server answer through the package, unless the user wants none; its figures decide."""
    if not packing.options.verify:
        return Attempt(chosen, plan, verdict, None)
    inputs = packing.inputs
    warm_instances = plan.instances if inputs.target.kind != "cpu" else 0
    verified = verify_package(
        package,
        inputs.spec.model.name,
        replace(read_workload(inputs.spec), warm_instances=warm_instances),
        chosen.candidate.precision,
        evaluation=packing.evaluation,
        traffic_data=inputs.traffic,
        urls=packing.options.urls,
        cache=packing.trial.cache,
    )
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
    misses = judged.misses if verdict.met else chosen.served_misses
    return Attempt(replace(chosen, served_misses=misses), plan, judged, served)
