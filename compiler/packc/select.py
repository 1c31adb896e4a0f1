"""Measurements -> Verdict: the best candidate that keeps every promise, or how near the others came.

Pure functions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from packc.candidate import Candidate, Rejection, group_rejections
from packc.goals import SAME, find_figure
from packc.measure.measurement import Measurement
from packc.promises import describe_bound, describe_score, list_promises
from packc.quality.gate import judge_score
from packc.quality.score import QualityScore
from packc.reasons import (
    Timed,
    describe_budget,
    describe_choice,
    describe_gain,
    describe_missed_budget,
    describe_missed_quality,
    list_doubts,
)
from packc.spec.model import ERROR_METRICS, TargetSpec
from packc.spec.optimize import Goal

Status = Literal["kept", "outpaced", "budget_missed", "quality_missed", "not_run", "failed"]
Missed = Literal["budget", "quality", "failed"] | None
STATUSES: tuple[Status, ...] = get_args(Status)

NEAREST = 3
NOT_JUDGED = "not judged: the CPU of this machine cannot run it"
"""How the failure of a candidate begins that only its device can tell about."""
NOT_RUN = "not run on the device: there is no result.json in the job bundle"
"""Why a candidate has no figures whose bundle nobody ran: nothing failed."""


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
    """Promises that it broke as served, or by its serving plan, whatever was measured without a server."""
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
    """Of the chosen candidate, or of the nearest ones (at most three), nearest first; empty when all are kept."""
    missed: Missed
    """The promise that nobody keeps, the budget being of those that keep the quality; "failed": none got that far."""


def classify(outcome: Outcome, spec: TargetSpec) -> Status:
    """How one candidate ended; a candidate that misses quality and budget has missed quality.

    "outpaced": its answers are good enough, and others were ahead in a short timing, so that it had no long one.
    "not_run": the device that it is for did not run its bundle.
    """
    if outcome.failure == NOT_RUN:
        return "not_run"
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
    """The promises that a candidate breaks: those broken as served, where there are some, else those as measured.

    Nothing but its quality is judged when its answers were not good enough without a server.
    """
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
    failed = group_rejections(Rejection(o.candidate.id, o.failure or "it was not measured") for o in of["failed"])
    failures = tuple(f"{item.what} failed: {item.reason}" for item in failed)
    if of["not_run"]:
        failures += (f"{', '.join(o.candidate.id for o in of['not_run'])}: {NOT_RUN}",)
    if of["budget_missed"]:
        return _miss_budget(of["budget_missed"], len(of["outpaced"]), spec, failures + caveats)
    if of["outpaced"]:
        return Verdict(False, None, ("every candidate that was timed for long failed", *failures), (), "failed")
    if of["quality_missed"]:
        return _miss_quality(of["quality_missed"], spec, failures + caveats)
    every = "every candidate that ran failed" if of["not_run"] else "every candidate failed"
    reason = every if outcomes else "there was no candidate to try"
    return Verdict(False, None, (reason, *failures), (), "failed")


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
    chosen, score, exported = _timed(best), _score(best), _find_compared(best, outcomes)
    is_partial = any(classify(outcome, spec) == "outpaced" for outcome in outcomes)
    choice = describe_choice(chosen, [_timed(outcome) for outcome in ranked], goal, scope, is_partial)
    return Verdict(
        met=True,
        chosen=best.candidate.id,
        reasons=(
            *describe_budget(chosen.measurement, spec.budget),
            f"quality kept: {describe_score(score)}, bound {describe_bound(score.metric, spec.quality)}",
            f"{why}: {chosen.text(goal)}" if why else choice,
            *(describe_gain(chosen, _timed(exported), goal) if exported else ()),
            *list_doubts(chosen.measurement.latencies[0], spec.budget),
            *caveats,
        ),
        misses=(),
        missed=None,
    )


def _find_compared(best: Outcome, outcomes: Sequence[Outcome]) -> Outcome | None:
    """The model as exported, where another one was chosen and it was timed in turns with that."""
    exported = find_baseline(outcomes)
    if exported is None or exported is best or exported.measurement is None or exported.is_rough:
        return None
    return exported


def _miss_budget(missed: Sequence[Outcome], outpaced: int, spec: TargetSpec, remarks: tuple[str, ...]) -> Verdict:
    """`outpaced`: how many more keep the quality bound, and were behind in a short timing."""
    nearest = sorted(missed, key=lambda o: max(miss.ratio for miss in find_misses(o, spec)))[:NEAREST]
    reasons = describe_missed_budget([_timed(outcome) for outcome in nearest], len(missed), outpaced, spec.budget)
    return Verdict(False, None, (*reasons, *remarks), _misses_of(nearest, spec), "budget")


def _miss_quality(missed: Sequence[Outcome], spec: TargetSpec, remarks: tuple[str, ...]) -> Verdict:
    nearest = sorted(missed, key=lambda o: -judge_score(_score(o), spec.quality).margin)[:NEAREST]
    reasons = describe_missed_quality([(o.candidate.id, _score(o)) for o in nearest], spec.quality)
    return Verdict(False, None, (*reasons, *remarks), _misses_of(nearest, spec), "quality")


def _misses_of(outcomes: Sequence[Outcome], spec: TargetSpec) -> tuple[Miss, ...]:
    return tuple(miss for outcome in outcomes for miss in find_misses(outcome, spec))


def goal_figure(outcome: Outcome, goal: Goal) -> float:
    """What the goal makes small."""
    return find_figure(_measured(outcome), goal)


def _goodness(outcome: Outcome) -> float:
    score = _score(outcome)
    return -score.value if score.metric in ERROR_METRICS else score.value


def _timed(outcome: Outcome) -> Timed:
    return Timed(outcome.candidate.id, _measured(outcome))


def _measured(outcome: Outcome) -> Measurement:
    assert outcome.measurement is not None, "classify lets only measured candidates get here"
    return outcome.measurement


def _score(outcome: Outcome) -> QualityScore:
    assert outcome.quality is not None, "classify lets only judged candidates get here"
    return outcome.quality
