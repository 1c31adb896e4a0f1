"""The reasons of a verdict, in words: what was kept or missed, what the choice gains, and what is doubtful about it.

Pure functions of figures; packc.select and packc.served decide which of them have a say.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from packc.goals import SUPERLATIVES, describe_figure, find_spread, is_within_noise
from packc.measure.measurement import Latency, Measurement
from packc.measure.statistics import needed_calls
from packc.promises import BudgetPromise, describe_bound, describe_score, format_figure, list_promises
from packc.quality.gate import judge_score, needed_samples
from packc.quality.score import QualityScore
from packc.spec.model import BudgetSection, QualitySection, WorkloadSection
from packc.spec.optimize import Goal


@dataclass(frozen=True, slots=True)
class Timed:
    """A candidate's name and its figures."""

    id: str
    measurement: Measurement

    def text(self, goal: Goal) -> str:
        """ "p50 9.8 ms"."""
        return describe_figure(self.measurement, goal)


def describe_budget(measurement: Measurement, budget: BudgetSection) -> list[str]:
    """The promises of a budget that is kept."""
    case = measurement.latencies[0].case
    tokens = "" if case.sequence is None else f", {case.sequence} tokens"
    shape = f" (batch {case.batch}{tokens}, {_count(measurement.threads, 'thread')})"
    reasons = [
        f"budget met: {promise.text}{shape if promise.key == 'latency_ms' else ''}"
        for promise in list_promises(measurement, budget)
    ]
    return reasons or ["no budget was set"]


def describe_choice(best: Timed, ranked: Sequence[Timed], goal: Goal, scope: str, is_partial: bool) -> str:
    """Why `best` among the `ranked` ones, the best by `goal` first; `scope` says what they are, in the plural.

    `is_partial`: others, which were behind in a short timing, may keep every promise too.
    """
    text, first = best.text(goal), ranked[0]
    if len(ranked) == 1:
        timed = "timed for long " if is_partial else ""
        return f"the only candidate {timed}{scope.replace('keep', 'keeps')}: {text}"
    if best.id != first.id:
        return f"{text}: as good as {first.id} ({first.text(goal)}) within 2 %, with the better answers"
    place = f"{SUPERLATIVES[goal]} of {len(ranked)} {scope}"
    near = [other for other in ranked[1:] if is_within_noise(best.measurement, other.measurement, goal)]
    if not near:
        return f"{place}: {text}, then {ranked[1].id} ({ranked[1].text(goal)})"
    names = ", ".join(f"{other.id} ({other.text(goal)})" for other in near)
    spreads = [spread for one in (best, *near) if (spread := find_spread(one.measurement, goal)) is not None]
    if len(spreads) <= len(near):
        return f"{place}, but by one round, so that whether it is ahead of {names} is not known: {text}"
    spread = max(spreads)
    return f"{place}, but within noise of {names}: {text}, and the rounds differ by up to {100 * spread:.0f} %"


def describe_gain(best: Timed, exported: Timed, goal: Goal) -> list[str]:
    """How much faster, and where size is the goal how much smaller, than `exported`, timed in turns with it."""
    before, after = exported.measurement, best.measurement
    before_ms, after_ms = before.latencies[0].p50_ms, after.latencies[0].p50_ms
    figures = f"p50 {format_figure(after_ms)} ms against {format_figure(before_ms)} ms"
    is_single = None in (find_spread(before, "latency"), find_spread(after, "latency"))
    near = "by one round about" if is_single else "within noise of"
    gain = near if is_within_noise(before, after, "latency") else f"{before_ms / after_ms:.1f} x"
    gains = [f"{gain} the speed of {exported.id}, the model as exported: {figures}"]
    if goal == "size":
        share = f"{after.size_mib / before.size_mib:.2f} of the size of {exported.id}, the model as exported"
        gains.insert(0, f"{share}: {best.text(goal)} against {exported.text(goal)}")
    return gains


def list_doubts(latency: Latency, budget: BudgetSection) -> list[str]:
    """What makes the timing of a choice uncertain."""
    doubts = []
    if latency.noisy:
        doubts.append("timing was noisy: the medians of its rounds differ by more than 10 %")
    if latency.spread is None:
        doubts.append("timed in one round: nobody knows how far others would differ from it")
    if budget.latency_ms and latency.samples < needed_calls(budget.percentile):
        doubts.append(f"p{budget.percentile:g} rests on {latency.samples} calls only")
    return doubts


def describe_missed_budget(nearest: Sequence[Timed], missed: int, outpaced: int, budget: BudgetSection) -> list[str]:
    """A budget that none of the `missed` candidates with good answers keeps, and by how much the `nearest` miss it.

    `outpaced`: how many more have good answers, and were behind in a short timing.
    """
    count = missed + outpaced
    keep = "1 candidate keeps" if count == 1 else f"{count} candidates keep"
    none = f"none of the {missed} that were timed for long" if outpaced else "none"
    reasons = [f"budget missed: {keep} the quality bound, {none} the budget"]
    for one in nearest:
        broken = [p.miss_text for p in list_promises(one.measurement, budget) if not p.is_kept]
        reasons.append(f"nearest: {one.id}: {'; '.join(broken)}")
    return reasons


def describe_missed_quality(nearest: Sequence[tuple[str, QualityScore]], section: QualitySection) -> list[str]:
    """A bound that nobody reaches, and by how much the `nearest` candidates miss it, the best one first."""
    best = nearest[0][1]
    reasons = [f"quality missed: no candidate reaches {best.metric} {describe_bound(best.metric, section)}"]
    for name, score in nearest:
        off = -judge_score(score, section).margin
        reasons.append(f"nearest: {name}: {describe_score(score)}, off by {off:.2g}")
    needed = needed_samples(best, section)
    if needed is not None:
        reasons.append(f"{best.samples} evaluation samples cannot prove the bound: a flawless candidate needs {needed}")
    return reasons


def describe_served_budget(chosen: str, promises: Sequence[BudgetPromise], workload: WorkloadSection) -> list[str]:
    """The promises, kept or not, by what clients saw."""
    load = f"{workload.rate_per_s:g} requests/s" if workload.rate_per_s else _count(workload.concurrency, "client")
    return [
        f"budget met: {p.text} (served, {load})"
        if p.is_kept
        else f"budget missed: {p.miss_text} ({chosen} served, {load})"
        for p in promises
    ]


def describe_served_quality(chosen: str, quality: QualityScore, section: QualitySection) -> str:
    """The bound, kept or not, by the answers that clients got."""
    is_kept = judge_score(quality, section).kept
    text = f"{describe_score(quality)}, bound {describe_bound(quality.metric, section)}"
    return f"quality {'kept' if is_kept else 'missed'}: {text} ({'served' if is_kept else f'{chosen} served'})"


def list_served_doubts(requests: int, noisy: bool, budget: BudgetSection) -> list[str]:
    """What makes the served figures uncertain."""
    doubts = []
    if noisy:
        doubts.append("latency drifted while the server was measured, as when other work shares the machine")
    if budget.latency_ms and requests < needed_calls(budget.percentile):
        doubts.append(f"p{budget.percentile:g} as served rests on {_count(requests, 'request')} only")
    return doubts


def describe_before(reasons: Sequence[str], is_missed: bool) -> list[str]:
    """What was said before a server answered, as no more than that; `is_missed`: a promise was broken since."""
    before = [re.sub("^(budget met|quality kept): ", "without the server: ", reason) for reason in reasons]
    if is_missed:
        before = [re.sub("keeps? every promise", r"\g<0> without the server", reason) for reason in before]
    return before


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
