from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest

from packc.measure.curve import CurvePoint, ServiceCurve
from packc.serving.choices import describe_queue, list_plans
from packc.serving.plan import Front, ServingPlan
from packc.serving.queue import Batching, Load, LoadFigures, ServiceTimes, predict_load
from packc.serving.search import (
    MOST_SERVED,
    Cost,
    Ground,
    Tried,
    Way,
    choose_tried,
    find_cost,
    predict_way,
    search_plans,
)
from packc.spec.model import BudgetSection, Range, WorkloadSection
from packc.spec.optimize import Goal, OptimizeSection
from serving_parts import device, source
from target_spec import target_spec

CORES = 2
LOAD = Load(clients=8, rate_per_s=0.0, batch=1, lengths=(0,))
RULE = ServingPlan(2, 1, 8, 0, ("by rule",))


@dataclass
class Machine:
    """A server that behaves as predicted, at a cost that nobody was told."""

    call_ms: dict[str, float]
    """Of one sample, by candidate; each further one of a batch takes half of it, two threads six tenths."""
    goal: Goal = "throughput"
    budget_ms: float = 100.0
    cost_ms: float = 1.0
    failing: dict[str, str] = field(default_factory=dict)
    served: list[Way] = field(default_factory=list)
    minutes_left: bool = True
    fronts: tuple[Front, ...] = ("ensemble",)
    unsteady: tuple[str, ...] = ()
    """Candidates whose every tenth call takes four times as long."""

    def times(self, way: Way) -> ServiceTimes | None:
        if way.candidate not in self.call_ms:
            return None
        ms = self.call_ms[way.candidate] * (0.6 if way.plan.threads == 2 else 1.0)
        calls = (1.0,) * 9 + (4.0 if way.candidate in self.unsteady else 1.0,)
        points = tuple(
            CurvePoint(batch, None, tuple(ms * (1 + batch) / 2 * call for call in calls)) for batch in (1, 2, 4, 8)
        )
        return ServiceTimes(ServiceCurve(way.plan.instances, way.plan.threads, points))

    def batching(self, way: Way) -> Batching:
        return describe_queue(way.plan, skips_padding=False)

    def serve(self, way: Way) -> LoadFigures | str:
        self.served.append(way)
        if way.candidate in self.failing:
            return self.failing[way.candidate]
        times = self.times(way) or ServiceTimes(ServiceCurve(1, 1, (CurvePoint(1, None, (9.0,)),)))
        return predict_load(times, LOAD, self.batching(way), CORES, self.cost_ms, 99)

    def ground(self, *, serves: bool = True) -> Ground:
        spec = target_spec(
            budget=BudgetSection(latency_ms=self.budget_ms),
            optimize=OptimizeSection(goal=self.goal),
            workload=WorkloadSection(batch=Range(typical=1, max=8), concurrency=8),
        )
        plans = list_plans(spec, device(units=CORES), source(), RULE, self.fronts)
        serve = self.serve if serves else None
        return Ground(
            spec, CORES, LOAD, lambda _: plans, self.times, self.batching, serve, lambda: not self.minutes_left
        )


def search(machine: Machine, *candidates: str, known: tuple[Tried, ...] = ()) -> tuple[Tried, ...]:
    return search_plans(candidates or ("a",), RULE, machine.ground(), known)


def test_the_rule_comes_first_and_tells_what_a_request_costs() -> None:
    machine = Machine({"a": 5.0})
    first, *others = search(machine)
    assert first.way == Way("a", RULE)
    assert first.is_fitted
    assert first.predicted
    assert first.served
    assert first.predicted.throughput_per_s == pytest.approx(first.served.throughput_per_s, rel=0.02)
    assert not any(item.is_fitted for item in others)
    cost = find_cost(first, machine.ground())
    assert cost is not None
    assert cost.request_ms == pytest.approx(machine.cost_ms, rel=0.1)


def test_what_is_predicted_best_is_served_and_chosen() -> None:
    machine = Machine({"a": 5.0})
    tried = search(machine)
    assert 2 <= len(tried) <= MOST_SERVED
    chosen = choose_tried(tried, machine.ground().spec)
    assert chosen is not None
    everything = [machine.serve(Way("a", plan)) for plan in machine.ground().plans("a")]
    best = max(figures.throughput_per_s for figures in everything if isinstance(figures, LoadFigures))
    assert chosen.served
    assert chosen.served.throughput_per_s > 0.95 * best
    assert all(item.predicted for item in tried)


def test_the_search_ends_when_no_prediction_beats_what_was_served() -> None:
    """A plan that was served once corrects the predictions of its like, so they are not served in turn."""
    machine = Machine({"a": 5.0}, goal="latency")
    tried = search(machine)
    assert 2 <= len(tried) < MOST_SERVED, "it ended by itself"
    assert search(machine, known=tried) == tried
    assert len(machine.served) == len(tried)


def test_a_front_that_was_never_served_has_its_turn() -> None:
    """Its cost is not known, so a prediction that is no better than what was served says nothing against it."""
    machine = Machine({"a": 5.0}, goal="latency", fronts=("ensemble", "in_process"))
    tried = search(machine)
    assert {item.way.plan.front for item in tried[:2]} == {"ensemble", "in_process"}
    broken = Machine({"a": 5.0}, fronts=("ensemble", "in_process"), failing={"a": "no"})
    assert [item.way.plan.front for item in search(broken)] == ["ensemble", "in_process"]


def test_another_candidate_may_win_as_served() -> None:
    machine = Machine({"a": 5.0, "b": 3.0})
    chosen = choose_tried(search(machine, "a", "b"), machine.ground().spec)
    assert chosen is not None
    assert chosen.way.candidate == "b"


def test_a_budget_keeps_a_faster_plan_out() -> None:
    """The unsteady one answers the most samples a second, and its slow calls break a tight budget."""
    chosen = {}
    for budget_ms in (100.0, 20.0):
        machine = Machine({"steady": 5.0, "quick": 3.0}, budget_ms=budget_ms, unsteady=("quick",))
        best = choose_tried(search(machine, "steady", "quick"), machine.ground().spec)
        assert best
        assert best.served
        assert best.served.latency_ms <= budget_ms
        chosen[budget_ms] = best.way.candidate, best.served
    (ample, most), (tight, less) = chosen[100.0], chosen[20.0]
    assert (ample, tight) == ("quick", "steady")
    assert most.throughput_per_s > less.throughput_per_s
    assert most.latency_ms > 20.0


def test_one_that_fails_as_served_is_left_alone() -> None:
    machine = Machine({"a": 5.0, "b": 8.0}, failing={"a": "it does not load"})
    tried = search(machine, "a", "b")
    assert (tried[0].failure, tried[0].served) == ("it does not load", None)
    assert [way.candidate for way in machine.served] == ["a", *["b"] * (len(tried) - 1)]
    chosen = choose_tried(tried, machine.ground().spec)
    assert chosen is not None
    assert chosen.way.candidate == "b"


def test_when_all_fail_nothing_is_chosen() -> None:
    machine = Machine({"a": 5.0}, failing={"a": "it does not load"})
    assert choose_tried(search(machine), machine.ground().spec) is None


def test_without_a_curve_the_rule_is_all_there_is() -> None:
    machine = Machine({})
    (only,) = search(machine)
    assert (only.way.plan, only.predicted) == (RULE, None)
    assert only.served is not None


def test_when_the_time_is_over_only_the_rule_is_served() -> None:
    machine = Machine({"a": 5.0}, minutes_left=False)
    assert [item.way.plan for item in search(machine)] == [RULE]


def test_without_a_server_the_best_prediction_is_all_there_is() -> None:
    machine = Machine({"a": 5.0, "b": 3.0})
    (only,) = search_plans(("a", "b"), RULE, machine.ground(serves=False))
    assert only.way.candidate == "b"
    assert only.predicted is not None
    assert (only.served, only.is_fitted) == (None, False)
    assert choose_tried((only,), machine.ground().spec) == only
    assert search_plans(("c",), RULE, machine.ground(serves=False)) == ()


def test_predictions_follow_the_load_that_is_asked_about() -> None:
    machine = Machine({"a": 5.0})
    few = predict_way(Way("a", RULE), machine.ground(), (), replace(LOAD, clients=1))
    many = predict_way(Way("a", RULE), machine.ground(), ())
    assert few
    assert many
    assert few.p50_ms == pytest.approx(5.0)
    assert many.latency_ms > few.latency_ms


def test_what_was_served_by_another_front_says_less_than_by_the_same() -> None:
    machine = Machine({"a": 5.0})
    ground = machine.ground()
    served = predict_load(machine.times(Way("a", RULE)), LOAD, machine.batching(Way("a", RULE)), CORES, 4.0, 99)  # type: ignore[arg-type]
    other = find_cost(Tried(Way("a", replace(RULE, front="in_process")), None, served), ground)
    own = find_cost(Tried(Way("b", RULE), None, served), Machine({"b": 5.0}).ground())
    assert other
    assert own
    dear = replace(other, request_ms=4.0)
    cheap = replace(own, request_ms=1.0)
    for costs in ((dear, cheap), (cheap, dear)):
        assert predict_way(Way("a", RULE), ground, costs) == predict_way(Way("a", RULE), ground, (cheap,))


def test_a_plan_of_like_batches_says_more_than_one_of_others() -> None:
    """What forming batches costs is in the cost of those that form them."""
    machine = Machine({"a": 5.0})
    ground = machine.ground()

    def seen(batch: int, request_ms: float) -> Cost:
        return Cost(Way("a", replace(RULE, preferred_batch_sizes=(batch,))), request_ms)

    costs = seen(1, 1.0), seen(8, 4.0)
    for batch, expected in ((1, costs[0]), (2, costs[0]), (4, costs[1])):
        way = Way("a", replace(RULE, preferred_batch_sizes=(batch,)))
        assert predict_way(way, ground, costs) == predict_way(way, ground, (expected,))


def test_a_plan_without_cuda_graphs_is_a_kind_of_its_own() -> None:
    """It is served once, with time for it beyond MOST_SERVED, as what a request costs there is not known before."""
    machine = Machine({"a": 4.0})
    ground = machine.ground()
    plans = ground.plans("a")
    more = [*plans, *(replace(plan, front="in_process") for plan in plans), replace(plans[0], cuda_graphs=False)]
    tried = search_plans(["a"], RULE, replace(ground, plans=lambda _: more))
    kinds = [(item.way.plan.front, item.way.plan.cuda_graphs) for item in tried]
    assert set(kinds[:3]) == {("ensemble", True), ("in_process", True), ("ensemble", False)}
    assert len(tried) <= MOST_SERVED + 1
