"""Finds the best way to serve: predicts every plan, serves the few that look best, and learns from what was served.

What a request costs beside the model (client, server, tokenizer) is in no curve. The first served plan tells it; each
further one corrects it for its own kind, so a prediction that was too bright does not lead the search on.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from packc.serving.choices import is_better, rank_key
from packc.serving.plan import Front, ServingPlan
from packc.serving.queue import Batching, Load, LoadFigures, ServiceTimes, fit_request_ms, predict_load
from packc.spec.model import TargetSpec

MOST_SERVED = 4
"""Plans that a server is started for, at most, and as many more as there are kinds of plans beyond two."""

Kind = tuple[Front, bool]
"""What sets the cost of a request beside the model: the front, and whether CUDA graphs are recorded."""


@dataclass(frozen=True, slots=True)
class Way:
    """A candidate and how to serve it."""

    candidate: str
    plan: ServingPlan


@dataclass(frozen=True, slots=True)
class Tried:
    """A way of serving that was looked at more closely than by its prediction alone."""

    way: Way
    predicted: LoadFigures | None
    """Before it was served; None where the candidate has no curve."""
    served: LoadFigures | None
    """None where no server was asked, and where it failed."""
    is_fitted: bool = False
    """Whether `predicted` was made to agree with `served`, as the first one's is."""
    failure: str | None = None


@dataclass(frozen=True, slots=True)
class Ground:
    """What a search stands on: the workload, and how to find things out."""

    spec: TargetSpec
    cores: int
    load: Load
    plans: Callable[[str], Sequence[ServingPlan]]
    """Of a candidate, the simpler of two alike first."""
    times: Callable[[Way], ServiceTimes | None]
    """The candidate's curve for the plan's threads and instances; None where it could not be measured."""
    batching: Callable[[Way], Batching]
    serve: Callable[[Way], LoadFigures | str] | None
    """Loads a real server for a few seconds: what clients saw, or how it failed. None where there is no server."""
    is_over: Callable[[], bool]
    """Whether the time for the search is over."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What a request was seen to cost beside the model, on one way of serving."""

    way: Way
    request_ms: float


def search_plans(
    candidates: Sequence[str], rule: ServingPlan, ground: Ground, known: Sequence[Tried] = ()
) -> tuple[Tried, ...]:
    """The ways that were tried, `known` ones first. Without a server it is the one that is predicted best.

    The first candidate is served by `rule` in any case, and then the best plan of each kind that was not served yet:
    what a request costs there is not known before. After that the best prediction is served, as long as it beats the
    best served by more than measuring can tell. MOST_SERVED plans are tried at most, and none when the time is over.
    """
    if ground.serve is None:
        best = _predict_best(candidates, ground, (), ())
        return (*known, *([Tried(best[0], best[1], None)] if best else []))
    tried = list(known)
    costs = [cost for item in tried if (cost := find_cost(item, ground))]
    first = Way(candidates[0], rule)
    if all(item.way != first for item in tried):
        tried.append(_serve(first, None, ground, costs))
    kinds = {_find_kind(plan) for candidate in candidates for plan in ground.plans(candidate)}
    most = MOST_SERVED + max(0, len(kinds) - 2)
    while len(tried) - len(known) < most and not ground.is_over():
        seen = {_find_kind(item.way.plan) for item in tried}
        best = _predict_best(candidates, ground, tried, costs, seen) or _find_better(candidates, ground, tried, costs)
        if best is None:
            break
        tried.append(_serve(best[0], best[1], ground, costs))
    return tuple(tried)


def choose_tried(tried: Sequence[Tried], spec: TargetSpec) -> Tried | None:
    """The best of those that were served, or, where none was, that were predicted; the earlier of two alike."""
    best: tuple[Tried, LoadFigures] | None = None
    for item in tried:
        figures = item.served or (item.predicted if item.failure is None else None)
        if figures and (best is None or _beats(figures, best[1], spec)):
            best = item, figures
    return best[0] if best else None


def find_cost(tried: Tried, ground: Ground) -> Cost | None:
    """What a request costs beside the model, as the served figures tell; None without a curve or a server."""
    times = ground.times(tried.way) if tried.served else None
    if tried.served is None or times is None:
        return None
    batching = ground.batching(tried.way)
    request_ms = fit_request_ms(
        times, ground.load, batching, ground.cores, tried.served.throughput_per_s, tried.served.p50_ms
    )
    return Cost(tried.way, request_ms)


def predict_way(way: Way, ground: Ground, costs: Sequence[Cost], load: Load | None = None) -> LoadFigures | None:
    """What clients would see of `way` under `load` (the workload's when left out); None without a curve."""
    times = ground.times(way)
    if times is None:
        return None
    percentile = ground.spec.budget.percentile
    request_ms = _estimate_cost(way, costs)
    return predict_load(times, load or ground.load, ground.batching(way), ground.cores, request_ms, percentile)


def _serve(way: Way, predicted: LoadFigures | None, ground: Ground, costs: list[Cost]) -> Tried:
    """Asks the server, and keeps in `costs` what it tells about the cost of a request."""
    assert ground.serve is not None
    served = ground.serve(way)
    if isinstance(served, str):
        return Tried(way, predicted, None, failure=served)
    tried = Tried(way, predicted, served)
    if cost := find_cost(tried, ground):
        costs.append(cost)
        if predicted is None:
            return Tried(way, predict_way(way, ground, costs), served, is_fitted=True)
    return tried


def _find_better(
    candidates: Sequence[str], ground: Ground, tried: Sequence[Tried], costs: Sequence[Cost]
) -> tuple[Way, LoadFigures] | None:
    """The way with the best prediction, if it beats the best served."""
    best, leader = _predict_best(candidates, ground, tried, costs), choose_tried(tried, ground.spec)
    if best and leader and leader.served and not _beats(best[1], leader.served, ground.spec):
        return None
    return best


def _predict_best(
    candidates: Sequence[str],
    ground: Ground,
    tried: Sequence[Tried],
    costs: Sequence[Cost],
    but_kinds: Collection[Kind] = (),
) -> tuple[Way, LoadFigures] | None:
    """The way with the best prediction among those not yet tried, the first of those that are as good.

    A candidate that failed as served is left alone with that kind of plan, and so are `but_kinds`.
    """
    done = {item.way for item in tried}
    failed = {(item.way.candidate, _find_kind(item.way.plan)) for item in tried if item.failure}
    predictions = [
        (way, figures)
        for candidate in candidates
        for way in (Way(candidate, plan) for plan in ground.plans(candidate))
        if (candidate, _find_kind(way.plan)) not in failed
        and way not in done
        and _find_kind(way.plan) not in but_kinds
        and (figures := predict_way(way, ground, costs))
    ]
    if not predictions:
        return None
    budget, goal = ground.spec.budget, ground.spec.optimize.goal
    _, best = min(predictions, key=lambda item: rank_key(item[1], budget, goal))
    return next(item for item in predictions if not _beats(best, item[1], ground.spec))


def _find_kind(plan: ServingPlan) -> Kind:
    return plan.front, plan.cuda_graphs


def _beats(figures: LoadFigures, other: LoadFigures, spec: TargetSpec) -> bool:
    return is_better(figures, other, spec.budget, spec.optimize.goal)


def _estimate_cost(way: Way, costs: Sequence[Cost]) -> float:
    """That of the way most like this one, the latest of equals; 0 before anything was served."""

    def likeness(cost: Cost) -> tuple[bool, bool, bool, float]:
        a, b = way.plan, cost.way.plan
        return (
            _find_kind(a) == _find_kind(b),
            (a.instances, a.threads) == (b.instances, b.threads),
            way.candidate == cost.way.candidate,
            -abs(math.log2(a.queue_batch / b.queue_batch)),
        )

    return max(reversed(costs), key=likeness).request_ms if costs else 0.0
