"""Successive halving: which candidates are worth the next, more costly look at them.

A candidate is judged on a few samples, then on all of them; timed in ten calls, then in long rounds. A step leaves
behind what can hardly win, and some of many that are equally good; they have their turn while nobody keeps every
promise. Pure functions; packc.driver.halving drives them.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from packc.candidate import Candidate, PassStep, Rejection
from packc.goals import SAME
from packc.promises import format_figure
from packc.quality.gate import quality_bound
from packc.quality.score import QualityScore
from packc.roofline import Floor, Roofline
from packc.select import Outcome, classify, find_misses, goal_figure
from packc.spec.model import ERROR_METRICS, MetricName, QualitySection, TargetSpec
from packc.spec.optimize import Goal
from packc.tensors import ShapeCase

PILOT_SAMPLES = 50
PILOT_PAYS_S = 5.0
"""A pilot costs the start of a process; it is left out where the samples that it may save take less than this."""
PILOT_METRICS: tuple[MetricName, ...] = ("cosine", "top1_agreement", "accuracy", "max_error", "mean_error")
"""Those that mean the same on some of the samples. Neighbours and ranks among fewer samples are other quantities."""
CERTAIN = 3.29 / 1.96
"""From the half width of a 95 % interval to that of a 99.9 % interval."""

SMOOTH = "smooth_outliers"
PRECAUTIONS = (("exclude", "ffn_down"),)
"""What recipes do for the sake of the answers alone. A proposal's own choice of layers is a finding, and is tried."""

LEAST_FINALISTS = 3
FLOOR_TRUST = 0.8
"""Floors are estimates from peaks measured with other sizes and strides: this share of one is taken for certain."""
MARGIN = 1.25
"""Ten calls tell candidates apart that differ by more than this ratio."""


@dataclass(frozen=True, slots=True)
class TimeLimit:
    """`[optimize] max_minutes` from now on, read between steps: what was started is finished; 0 means no limit."""

    max_minutes: float
    now_s: Callable[[], float] = time.monotonic
    _start_s: float = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_start_s", self.now_s())

    @property
    def is_over(self) -> bool:
        return bool(self.max_minutes) and self.now_s() - self._start_s >= self.max_minutes * 60

    @property
    def reason(self) -> str:
        """What is said of a candidate that did not get its turn."""
        return f"not tried: the {self.max_minutes:g} minutes of [optimize] max_minutes were over"

    def reject(self, candidate: Candidate) -> Rejection:
        return Rejection(candidate.id, self.reason)

    def tell_untried(self, skipped: Sequence[Rejection]) -> tuple[str, ...]:
        """How many of the `skipped` candidates did not get their turn, in words; empty where all did."""
        count = sum(rejection.reason == self.reason for rejection in skipped)
        return (f"{count} candidate{' was' if count == 1 else 's were'} not tried",) if count else ()


@dataclass(frozen=True, slots=True)
class Spared(Rejection):
    """A candidate that is not tried for as long as its `rival`, which does the same with fewer precautions, holds."""

    candidate: Candidate = field(hash=False)  # its options are mappings, which cannot be hashed
    rival: str


def list_recalled(skipped: Sequence[Rejection], outcomes: Sequence[Outcome], spec: TargetSpec) -> list[Spared]:
    """The spared ones whose turn has come: their rival has failed since, or missed the quality bound as served."""
    lost = {o.candidate.id for o in outcomes if classify(o, spec) in ("failed", "quality_missed")}
    return [rejection for rejection in skipped if isinstance(rejection, Spared) and rejection.rival in lost]


def order_candidates(candidates: Sequence[Candidate], roofline: Roofline | None) -> tuple[Candidate, ...]:
    """The baseline, which a plan has first, then those that may become the fastest; a plan's order among equals."""
    if roofline is None:
        return tuple(candidates)
    return (*candidates[:1], *sorted(candidates[1:], key=roofline.estimate_ms))


def find_beaten(
    candidate: Candidate, known: Sequence[Outcome], spec: TargetSpec, roofline: Roofline | None
) -> Rejection | None:
    """Why a candidate need not be tried now that the `known` ones were judged; None where it may win."""
    rivals = [o for o in known if classify(o, spec) in ("kept", "outpaced") and may_keep_budget(o, spec)]
    return _find_bolder(candidate, rivals) or _find_faster(candidate, rivals, known, spec, roofline)


def _find_bolder(candidate: Candidate, rivals: Sequence[Outcome]) -> Spared | None:
    """A rival that does the same without a precaution of the candidate's: what is only there to save the answers."""
    for rival in rivals:
        if _list_bold_steps(candidate) == _list_bold_steps(rival.candidate) and (
            _count_precautions(candidate) > _count_precautions(rival.candidate)
        ):
            reason = (
                f"not tried: {rival.candidate.id} does the same with fewer precautions, and keeps the quality bound"
            )
            return Spared(candidate.id, reason, candidate, rival.candidate.id)
    return None


def _list_bold_steps(candidate: Candidate) -> tuple[str, ...]:
    """Where it begins, its runtime, and its steps without the precautions."""
    steps = [step for step in candidate.steps if step.name != SMOOTH]
    return (candidate.source, candidate.runtime, *(str(_drop_precaution(step)) for step in steps))


def _drop_precaution(step: PassStep) -> PassStep:
    options = {key: value for key, value in step.options.items() if (key, value) not in PRECAUTIONS}
    return replace(step, options=options)


def _count_precautions(candidate: Candidate) -> int:
    """A layer that is left as it is costs more than smoothing, which costs next to nothing."""
    excludes = sum(_drop_precaution(step) != step for step in candidate.steps)
    return 2 * excludes + any(step.name == SMOOTH for step in candidate.steps)


def _find_faster(
    candidate: Candidate,
    rivals: Sequence[Outcome],
    known: Sequence[Outcome],
    spec: TargetSpec,
    roofline: Roofline | None,
) -> Rejection | None:
    """A rival that was measured to be better than the candidate is estimated ever to be.

    None while that is open, and where floors tell nothing: of size; of a model that may be computed with fewer
    multiplications than were counted; once something was faster than its own.
    """
    goal = spec.optimize.goal
    floors = roofline.find_floors(candidate) if roofline and roofline.is_least else None
    if roofline is None or floors is None or goal == "size" or not rivals or _is_disproved(roofline, known):
        return None
    best = min(rivals, key=lambda outcome: goal_figure(outcome, goal))
    assert best.measurement is not None
    at_best = _floor_figure(goal, roofline.cases, floors, best.measurement.threads)
    if at_best * FLOOR_TRUST <= goal_figure(best, goal) * SAME:
        return None
    floor, text = floors[0], format_figure(_median_ms(best))
    rate = f"{format_figure(floor.rate)} {'GFLOP/s' if floor.bound == 'compute' else 'GB/s'}"
    return Rejection(
        candidate.id,
        f"not tried: estimated to take {format_figure(floor.ms)} ms at least ({rate} of {floor.precision}, "
        f"{roofline.peaks.source}); {best.candidate.id} keeps the quality bound in {text} ms",
    )


def _floor_figure(goal: Goal, cases: Sequence[ShapeCase], floors: Sequence[Floor], threads: int) -> float:
    """packc.select.goal_figure of a candidate whose every call takes no longer than its floor."""
    if goal == "throughput":
        return min(floor.ms / 1e3 / case.batch for case, floor in zip(cases, floors, strict=True))
    return floors[0].ms * threads / cases[0].batch if goal == "cost" else floors[0].ms


def _is_disproved(roofline: Roofline, known: Sequence[Outcome]) -> bool:
    """Whether a call took less than it can: the peaks were measured while something else used the machine."""
    timed = ((roofline.find_floors(o.candidate), o) for o in known if o.measurement is not None)
    return any(floors is not None and _median_ms(outcome) < floors[0].ms for floors, outcome in timed)


def choose_pilot(metric: MetricName, samples: int, sample_ms: float) -> tuple[int, ...]:
    """Indices of the samples to judge a candidate on first, evenly spaced; empty where that would save little.

    `sample_ms`: how long the model as exported takes for one of the `samples`.
    """
    saved_s = (samples - PILOT_SAMPLES) * sample_ms / 1e3
    if metric not in PILOT_METRICS or saved_s < PILOT_PAYS_S:
        return ()
    return tuple(index * samples // PILOT_SAMPLES for index in range(PILOT_SAMPLES))


def is_hopeless(score: QualityScore, section: QualitySection) -> bool:
    """Whether even the good end of the score's 99.9 % interval breaks the bound that its 95 % interval has to keep."""
    bound = quality_bound(section, score.metric)
    sign = -1.0 if score.metric in ERROR_METRICS else 1.0
    if bound.kind == "max_drop":
        drop = sign * (score.reference - score.value)
        return drop - CERTAIN * (score.worst_drop - drop) > bound.value
    half = max(score.value - score.low, score.high - score.value)
    return sign * (score.value - bound.value) + CERTAIN * half < 0


def choose_finalists(outcomes: Sequence[Outcome], spec: TargetSpec) -> list[Outcome]:
    """Those of the shortly timed `outcomes` to time for long: the best half, as far as it is near the best one.

    Never fewer than three while there are three, so that one that fails has a stand-in. `spec` is what they are judged
    by without a server.
    """
    ranked = sorted(outcomes, key=lambda outcome: _rank(outcome, spec))
    half = max(LEAST_FINALISTS, math.ceil(len(ranked) / 2))
    return [
        outcome
        for place, outcome in enumerate(ranked[:half])
        if place < LEAST_FINALISTS or _rank(outcome, spec) <= _stretch(_rank(ranked[0], spec))
    ]


def may_keep_budget(outcome: Outcome, spec: TargetSpec) -> bool:
    """Whether a short timing leaves hope for the budget: size and memory fit, and the median call is within it."""
    budget = spec.budget
    late = outcome.measurement is not None and bool(budget.latency_ms) and _median_ms(outcome) > budget.latency_ms
    others = (miss for miss in find_misses(outcome, spec) if miss.promise in ("size_mib", "memory_mib"))
    return not late and not any(others)


def choose_next(outcomes: Sequence[Outcome], spec: TargetSpec) -> list[Outcome]:
    """The next ones to time for long while none of those that were keeps every promise; empty when one does.

    Those without hope for the budget are left alone, but where all others failed: a miss has to say how far off it is.
    """
    statuses = {classify(outcome, spec) for outcome in outcomes}
    if "kept" in statuses:
        return []
    rest = [outcome for outcome in outcomes if classify(outcome, spec) == "outpaced"]
    hopeful = [outcome for outcome in rest if may_keep_budget(outcome, spec)]
    if not hopeful and "budget_missed" in statuses:
        return []
    return sorted(hopeful or rest, key=lambda outcome: _rank(outcome, spec))[:LEAST_FINALISTS]


def _rank(outcome: Outcome, spec: TargetSpec) -> tuple[bool, float]:
    """Small for the good: first those that may keep the budget, then by the goal's figure."""
    return not may_keep_budget(outcome, spec), goal_figure(outcome, spec.optimize.goal)


def _stretch(rank: tuple[bool, float]) -> tuple[bool, float]:
    return rank[0], rank[1] * MARGIN


def _median_ms(outcome: Outcome) -> float:
    assert outcome.measurement is not None
    return outcome.measurement.latencies[0].p50_ms
