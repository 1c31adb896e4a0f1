"""Measurements -> Verdict: the best candidate that keeps every promise, or how near the others came.

Pure functions.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, get_args

from packc.candidate import Candidate
from packc.goals import SUPERLATIVES, describe_figure, find_figure, find_spread, is_within_noise
from packc.measure.measurement import Latency, Measurement
from packc.measure.statistics import needed_calls
from packc.promises import describe_bound, describe_score, format_figure, list_promises, list_speed_promises
from packc.quality.gate import judge_score, needed_samples
from packc.quality.score import QualityScore
from packc.spec.model import ERROR_METRICS, BudgetSection, Goal, TargetSpec

Status = Literal["kept", "outpaced", "budget_missed", "quality_missed", "failed"]
Missed = Literal["budget", "quality", "failed"] | None
STATUSES: tuple[Status, ...] = get_args(Status)

SAME = 1.02
"""Figures within 2 % of the best are equal as far as measuring can tell; the better answers decide."""
NEAREST = 3


@dataclass(frozen=True, slots=True)
class Outcome:
    """All that came of one candidate."""

    candidate: Candidate
    model: Path | None
    """Main file of the lowered or built artifact; None when it could not be made."""
    measurement: Measurement | None
    """None when it failed."""
    quality: QualityScore | None
    failure: str | None
    warnings: tuple[str, ...]
    """Visible remarks of the passes: a fusion that was expected and did not happen."""
    answers: Path | None = None
    """Samples file of its answers to the evaluation samples; None when it gave none."""
    served_misses: tuple[Miss, ...] = ()
    """Promises that it broke when a server answered through it, whatever was measured without one."""
    is_rough: bool = False
    """Whether the measurement rests on a few calls of one process: enough to leave a candidate behind, not to show."""


@dataclass(frozen=True, slots=True)
class Miss:
    """One promise that one candidate breaks, with the numbers."""

    candidate: str
    promise: str
    """"quality", "latency_ms", "throughput_per_s", "size_mib" or "memory_mib"."""
    measured: float
    bound: float

    @property
    def ratio(self) -> float:
        """How far off, as a ratio >= 1: 1.2 is 20 % over the bound (or 20 % below a floor)."""
        low, high = sorted((self.measured, self.bound))
        return high / low if low > 0 else float("inf")


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was chosen and why."""

    met: bool | None
    """None when the promises could not be judged here."""
    chosen: str | None
    reasons: tuple[str, ...]
    """Sentences for people, the most important first: "budget met: p99 9.8 ms of 15 ms"."""
    misses: tuple[Miss, ...]
    """Of the nearest candidates (at most three), nearest first; empty when the promises are kept."""
    missed: Missed
    """Which promise nobody keeps: none kept the quality, none of those that did the budget, or none even ran."""


def classify(outcome: Outcome, spec: TargetSpec) -> Status:
    """How one candidate ended; a candidate that misses quality and budget has missed quality.

    "outpaced": its answers are good enough, and others were ahead in a short timing, so that it had no long one.
    """
    if outcome.failure is not None or outcome.quality is None:
        return "failed"
    if not judge_score(outcome.quality, spec.quality).kept:
        return "quality_missed"
    if outcome.measurement is None:
        return "failed"
    if any(miss.promise == "quality" for miss in outcome.served_misses):
        return "quality_missed"
    if outcome.is_rough:
        return "outpaced"
    return "budget_missed" if find_misses(outcome, spec) else "kept"


def find_baseline(outcomes: Sequence[Outcome]) -> Outcome | None:
    """The model as it was exported, which the others are compared with; a plan has it first."""
    return next((o for o in outcomes if not o.candidate.steps and o.candidate.source == "model"), None)


def find_misses(outcome: Outcome, spec: TargetSpec) -> tuple[Miss, ...]:
    """The promises that a candidate breaks; its cost is not judged when its answers are not good enough."""
    if outcome.quality is not None:
        judgement = judge_score(outcome.quality, spec.quality)
        if not judgement.kept:
            return (Miss(outcome.candidate.id, "quality", judgement.measured, judgement.bound),)
    if outcome.measurement is None:
        return ()
    return outcome.served_misses or tuple(
        Miss(outcome.candidate.id, promise.key, promise.measured, promise.bound)
        for promise in list_promises(outcome.measurement, spec.budget)
        if not promise.is_kept
    )


def leave_to_server(spec: TargetSpec) -> TargetSpec:
    """The spec without what only a server can tell: throughput, of many clients and all instances."""
    return spec.model_copy(update={"budget": spec.budget.model_copy(update={"throughput_per_s": 0.0})})


def select(
    outcomes: Sequence[Outcome],
    spec: TargetSpec,
    generated: bool,
    rivals: Sequence[Outcome] | None = None,
    why: str | None = None,
) -> Verdict:
    """The best by `[optimize] goal` among the candidates that keep every promise, else the three nearest.

    `generated`: quality was judged on generated inputs, which the verdict says. `rivals`: those of `outcomes` that are
    left to choose from once others were tried through the server. `why` is said of a choice that was made elsewhere.
    """
    caveats = ("quality was judged on generated inputs only",) if generated else ()
    of: dict[Status, list[Outcome]] = {
        status: [outcome for outcome in (outcomes if rivals is None else rivals) if classify(outcome, spec) == status]
        for status in STATUSES
    }
    if of["kept"]:
        scope = "that keep every promise" if rivals is None else "left"
        return _choose(of["kept"], outcomes, spec, caveats, scope, why)
    failures = tuple(f"{o.candidate.id} failed: {o.failure or 'it was not measured'}" for o in of["failed"])
    if of["budget_missed"]:
        return _miss_budget(of["budget_missed"], len(of["outpaced"]), spec, failures + caveats)
    if of["quality_missed"]:
        return _miss_quality(of["quality_missed"], spec, failures + caveats)
    reason = "every candidate failed" if outcomes else "there was no candidate to try"
    return Verdict(False, None, (reason, *failures), (), "failed")


def judge_served(
    verdict: Verdict,
    spec: TargetSpec,
    latency_ms: float,
    throughput_per_s: float,
    quality: QualityScore | None,
    *,
    requests: int,
    noisy: bool,
) -> Verdict:
    """The verdict once a real server has answered: what clients get decides, not what was measured without it.

    `latency_ms` is at the budget's percentile, under the workload, of so many `requests`; `quality` of the answers
    through the server, None where the metric cannot be had from them. A verdict without a choice stays as it is, and
    so does a miss.
    """
    if verdict.chosen is None or not verdict.met:
        return verdict
    clients = spec.workload.concurrency
    load = f"{spec.workload.rate_per_s:g} requests/s" if spec.workload.rate_per_s else _count(clients, "client")
    promises = list_speed_promises(latency_ms, throughput_per_s, spec.budget)
    misses = [Miss(verdict.chosen, p.key, p.measured, p.bound) for p in promises if not p.is_kept]
    reasons = [
        f"budget met: {p.text} (served, {load})"
        if p.is_kept
        else f"budget missed: {p.miss_text} ({verdict.chosen} served, {load})"
        for p in promises
    ]
    missed: Missed = "budget" if misses else None
    if quality is not None:
        judgement = judge_score(quality, spec.quality)
        text = f"{describe_score(quality)}, bound {describe_bound(quality.metric, spec.quality)}"
        who = "served" if judgement.kept else f"{verdict.chosen} served"
        reasons.append(f"quality {'kept' if judgement.kept else 'missed'}: {text} ({who})")
        if not judgement.kept:
            misses.insert(0, Miss(verdict.chosen, "quality", judgement.measured, judgement.bound))
            missed = "quality"
    if noisy:
        reasons.append("latency drifted while the server was measured, as when other work shares the machine")
    if spec.budget.latency_ms and requests < needed_calls(spec.budget.percentile):
        reasons.append(f"p{spec.budget.percentile:g} as served rests on {_count(requests, 'request')} only")
    before = tuple(re.sub("^(budget met|quality kept): ", "without the server: ", reason) for reason in verdict.reasons)
    if misses:
        before = tuple(re.sub("keeps? every promise", r"\g<0> without the server", reason) for reason in before)
    return replace(verdict, met=not misses, reasons=(*reasons, *before), misses=tuple(misses), missed=missed)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _choose(
    kept: Sequence[Outcome],
    outcomes: Sequence[Outcome],
    spec: TargetSpec,
    caveats: tuple[str, ...],
    scope: str,
    why: str | None,
) -> Verdict:
    """`scope` says what the kept ones are, in the plural."""
    goal = spec.optimize.goal
    ranked = sorted(kept, key=lambda outcome: goal_figure(outcome, goal))
    equal = [o for o in ranked if goal_figure(o, goal) <= goal_figure(ranked[0], goal) * SAME]
    best = max(equal, key=_goodness)
    measurement = _measured(best)
    is_partial = any(classify(outcome, spec) == "outpaced" for outcome in outcomes)
    return Verdict(
        met=True,
        chosen=best.candidate.id,
        reasons=(
            *_describe_budget(measurement, spec.budget),
            f"quality kept: {describe_score(_score(best))}, bound {describe_bound(_score(best).metric, spec.quality)}",
            f"{why}: {_goal_text(best, goal)}" if why else _describe_choice(best, ranked, goal, scope, is_partial),
            *_describe_gain(best, outcomes, goal),
            *_list_doubts(measurement.latencies[0], spec.budget),
            *caveats,
        ),
        misses=(),
        missed=None,
    )


def _miss_budget(missed: Sequence[Outcome], outpaced: int, spec: TargetSpec, remarks: tuple[str, ...]) -> Verdict:
    """`outpaced`: how many more keep the quality bound, and were behind in a short timing."""
    nearest = sorted(missed, key=lambda o: max(miss.ratio for miss in find_misses(o, spec)))[:NEAREST]
    count = len(missed) + outpaced
    keep = "1 candidate keeps" if count == 1 else f"{count} candidates keep"
    none = f"none of the {len(missed)} that were timed for long" if outpaced else "none"
    reasons = [f"budget missed: {keep} the quality bound, {none} the budget"]
    for outcome in nearest:
        broken = [p.miss_text for p in list_promises(_measured(outcome), spec.budget) if not p.is_kept]
        reasons.append(f"nearest: {outcome.candidate.id}: {'; '.join(broken)}")
    return Verdict(False, None, (*reasons, *remarks), _misses_of(nearest, spec), "budget")


def _miss_quality(missed: Sequence[Outcome], spec: TargetSpec, remarks: tuple[str, ...]) -> Verdict:
    nearest = sorted(missed, key=lambda o: -judge_score(_score(o), spec.quality).margin)[:NEAREST]
    best = _score(nearest[0])
    reasons = [f"quality missed: no candidate reaches {best.metric} {describe_bound(best.metric, spec.quality)}"]
    for outcome in nearest:
        off = -judge_score(_score(outcome), spec.quality).margin
        reasons.append(f"nearest: {outcome.candidate.id}: {describe_score(_score(outcome))}, off by {off:.2g}")
    needed = needed_samples(best, spec.quality)
    if needed is not None:
        reasons.append(f"{best.samples} evaluation samples cannot prove the bound: a flawless candidate needs {needed}")
    return Verdict(False, None, (*reasons, *remarks), _misses_of(nearest, spec), "quality")


def _misses_of(outcomes: Sequence[Outcome], spec: TargetSpec) -> tuple[Miss, ...]:
    return tuple(miss for outcome in outcomes for miss in find_misses(outcome, spec))


def _describe_budget(measurement: Measurement, budget: BudgetSection) -> list[str]:
    case = measurement.latencies[0].case
    tokens = "" if case.sequence is None else f", {case.sequence} tokens"
    shape = f" (batch {case.batch}{tokens}, {measurement.threads} thread{'s' if measurement.threads != 1 else ''})"
    reasons = [
        f"budget met: {promise.text}{shape if promise.key == 'latency_ms' else ''}"
        for promise in list_promises(measurement, budget)
    ]
    return reasons or ["no budget was set"]


def _describe_choice(best: Outcome, ranked: Sequence[Outcome], goal: Goal, scope: str, is_partial: bool) -> str:
    """`is_partial`: others, which were behind in a short timing, may keep every promise too."""
    text = _goal_text(best, goal)
    if len(ranked) == 1:
        timed = "timed for long " if is_partial else ""
        return f"the only candidate {timed}{scope.replace('keep', 'keeps')}: {text}"
    if best is not ranked[0]:
        rival = f"{ranked[0].candidate.id} ({_goal_text(ranked[0], goal)})"
        return f"{text}: as good as {rival} within 2 %, with the better answers"
    first = f"{SUPERLATIVES[goal]} of {len(ranked)} {scope}"
    near = [o for o in ranked[1:] if is_within_noise(_measured(best), _measured(o), goal)]
    if not near:
        return f"{first}: {text}, then {ranked[1].candidate.id} ({_goal_text(ranked[1], goal)})"
    names = ", ".join(f"{outcome.candidate.id} ({_goal_text(outcome, goal)})" for outcome in near)
    spread = max(find_spread(_measured(outcome), goal) for outcome in (best, *near))
    return f"{first}, but within noise of {names}: {text}, and the rounds differ by up to {100 * spread:.0f} %"


def _describe_gain(best: Outcome, outcomes: Sequence[Outcome], goal: Goal) -> list[str]:
    """How much faster, and where size is the goal how much smaller, than the model as exported, timed in turns with it.

    Nothing where it was not timed.
    """
    exported = find_baseline(outcomes)
    if exported is None or exported is best or exported.measurement is None or exported.is_rough:
        return []
    before, after = _measured(exported), _measured(best)
    before_ms, after_ms = before.latencies[0].p50_ms, after.latencies[0].p50_ms
    figures = f"p50 {format_figure(after_ms)} ms against {format_figure(before_ms)} ms"
    is_close = is_within_noise(before, after, "latency")
    gain = "within noise of" if is_close else f"{before_ms / after_ms:.1f} x"
    gains = [f"{gain} the speed of {exported.candidate.id}, the model as exported: {figures}"]
    if goal == "size":
        share = f"{after.size_mib / before.size_mib:.2f} of the size of {exported.candidate.id}, the model as exported"
        gains.insert(0, f"{share}: {describe_figure(after, goal)} against {describe_figure(before, goal)}")
    return gains


def _list_doubts(latency: Latency, budget: BudgetSection) -> list[str]:
    doubts = []
    if latency.noisy:
        doubts.append("timing was noisy: the medians of its rounds differ by more than 10 %")
    if budget.latency_ms and latency.samples < needed_calls(budget.percentile):
        doubts.append(f"p{budget.percentile:g} rests on {latency.samples} calls only")
    return doubts


def goal_figure(outcome: Outcome, goal: Goal) -> float:
    """What the goal makes small."""
    return find_figure(_measured(outcome), goal)


def _goal_text(outcome: Outcome, goal: Goal) -> str:
    return describe_figure(_measured(outcome), goal)


def _goodness(outcome: Outcome) -> float:
    score = _score(outcome)
    return -score.value if score.metric in ERROR_METRICS else score.value


def _measured(outcome: Outcome) -> Measurement:
    assert outcome.measurement is not None, "classify lets only measured candidates get here"
    return outcome.measurement


def _score(outcome: Outcome) -> QualityScore:
    assert outcome.quality is not None, "classify lets only judged candidates get here"
    return outcome.quality
