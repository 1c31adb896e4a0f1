"""How the driver looks for the best way to serve, in the world whose server answers as a test says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from driver_world import DEFAULTS, StubRuntime, Way, World
from packc.candidate import PassStep
from packc.driver import ways
from packc.driver.endings import BuildOptions
from packc.driver.packing import Packing, PackingFailed
from packc.driver.ways import WayFinder
from packc.errors import PackError
from packc.measure.curve import CurvePoint, ServiceCurve
from packc.search import TimeLimit
from packc.select import Outcome
from packc.server.libraries import LibraryMissing
from packc.server.load import ServerFailed, Traffic
from packc.serving import choices, plan_serving
from packc.serving.choices import Split

TRAFFIC = "[workload]\nconcurrency = 8\n"
GOAL = "[optimize]\ngoal = 'throughput'\n"


def make_packing(
    world: World, outcomes: Sequence[Outcome], *sections: str, cores: int = 2, options: BuildOptions = DEFAULTS
) -> Packing:
    inputs = world.gather(*sections)
    inputs = replace(inputs, target=replace(inputs.target, units=cores))
    trial = world.make_trial(*sections)
    findings = replace(inputs.make_findings(outcomes, ()), verify=options.verify)
    rule = plan_serving(inputs.spec, inputs.target, trial.ingested.source)
    return Packing(inputs, trial, findings, rule, "none", options, TimeLimit(inputs.spec.optimize.max_minutes))


def search(world: World, **named: Way) -> list[Outcome]:
    world.ways.clear()
    world.ways |= named
    return list(world.search().values())


def test_the_best_served_plan_is_chosen_and_says_why(world: World) -> None:
    """The stand-in for a server is quickest with one instance, whatever the curves say."""
    outcomes = search(world, base=Way(ms=4.0))
    world.probe = lambda instances, threads, traffic: 20.0 if instances == 2 else 10.0
    finder = WayFinder(make_packing(world, outcomes, TRAFFIC, GOAL))
    service = finder.choose(outcomes[0], outcomes)
    assert service.outcome is outcomes[0]
    assert world.probed[0][:2] == (2, 1), "the rule's plan comes first"
    assert 1 <= len(service.tried) <= 4
    best = max(item.served.throughput_per_s for item in service.tried if item.served)
    assert f"{best:,.0f} samples/s" in " ".join(service.plan.reasons)
    assert service.plan.instances == 1
    assert service.plan.reasons[0].startswith("best of ")
    assert service.plan.reasons[1].startswith("the workload alone suggested 2 instances of 1 thread")


def test_the_rule_stays_where_nothing_beats_it(world: World) -> None:
    outcomes = search(world, base=Way(ms=4.0))
    world.probe = lambda instances, threads, traffic: 0.5
    packing = make_packing(world, outcomes, TRAFFIC, GOAL)
    service = WayFinder(packing).choose(outcomes[0], outcomes)
    assert replace(service.plan, reasons=()) == replace(packing.rule, reasons=())
    assert service.plan.reasons[: len(packing.rule.reasons)] == packing.rule.reasons
    assert len(service.tried) == 1
    assert service.tried[0].way.plan in WayFinder(packing)._plans, "so that it is not served again as one of them"


def test_rivals_are_those_that_are_near_by_the_goal(world: World) -> None:
    def with_speed(outcome: Outcome, per_s: float) -> Outcome:
        assert outcome.measurement is not None
        latencies = tuple(replace(latency, throughput_per_s=per_s) for latency in outcome.measurement.latencies)
        return replace(outcome, measurement=replace(outcome.measurement, latencies=latencies))

    found = search(world, base=Way(), other=Way(), slow=Way())
    outcomes = [with_speed(o, per_s) for o, per_s in zip(found, (250.0, 220.0, 25.0), strict=True)]
    near = ways._list_near(outcomes[0], outcomes, make_packing(world, outcomes, TRAFFIC, GOAL))
    assert [outcome.candidate.id for outcome in near] == ["other"]
    smallest = make_packing(world, outcomes, TRAFFIC, "[optimize]\ngoal = 'size'\n")
    assert ways._list_near(outcomes[0], outcomes, smallest) == []


def test_without_a_server_the_plan_is_predicted_and_says_so(world: World) -> None:
    outcomes = search(world, base=Way(ms=4.0))
    options = BuildOptions(verify=False)
    service = WayFinder(make_packing(world, outcomes, TRAFFIC, GOAL, options=options)).choose(outcomes[0], outcomes)
    assert world.probed == []
    (only,) = service.tried
    assert only.predicted is not None
    assert service.plan.reasons[0].startswith("predicted best from measured curves")
    assert service.plan.reasons[0].endswith("no server confirmed it")


def test_a_server_that_runs_already_is_served_by_the_rule(world: World) -> None:
    outcomes = search(world, base=Way(ms=4.0))
    packing = make_packing(world, outcomes, TRAFFIC, options=BuildOptions(urls=("http://127.0.0.1:1",)))
    service = WayFinder(packing).choose(outcomes[0], outcomes)
    assert (service.plan, service.tried, world.probed) == (packing.rule, (), [])


def test_when_the_minutes_are_over_only_the_rule_is_served(world: World) -> None:
    outcomes = search(world, base=Way(ms=4.0))
    packing = make_packing(world, outcomes, TRAFFIC, "[optimize]\nmax_minutes = 1e-9\n")
    service = WayFinder(packing).choose(outcomes[0], outcomes)
    assert len(world.probed) == len(service.tried) == 1
    assert service.tried[0].predicted is None
    assert service.is_cut
    assert service.plan.reasons[-1].startswith("the only plan served: ")


def test_texts_may_be_served_in_one_process(world: World) -> None:
    outcomes = search(world, base=Way(ms=4.0))
    packing = make_packing(world, outcomes, TRAFFIC)
    finder = WayFinder(replace(packing, pipeline="text"))
    finder._outcomes = {"base": outcomes[0]}
    assert {(plan.front, plan.lengths) for plan in finder._list_plans("base")} == {
        ("ensemble", "pad"), ("in_process", "sorted"),
    }  # fmt: skip
    packed = replace(outcomes[0].candidate, passes=(PassStep("remove_padding"),))
    finder._outcomes = {"base": replace(outcomes[0], candidate=packed)}
    assert {(plan.front, plan.lengths) for plan in finder._list_plans("base")} == {
        ("ensemble", "pad"), ("in_process", "pad"),
    }  # fmt: skip
    assert {plan.front for plan in WayFinder(packing)._plans} == {"ensemble"}


@pytest.mark.parametrize("error", [ServerFailed, LibraryMissing, PackingFailed])
def test_a_plan_that_cannot_be_served_costs_only_itself(world: World, error: type[PackError]) -> None:
    def fail(instances: int, threads: int, traffic: Traffic) -> float:
        raise error("the model\n failed")

    outcomes = search(world, base=Way(ms=4.0))
    world.probe = fail
    packing = make_packing(world, outcomes, TRAFFIC)
    service = WayFinder(packing).choose(outcomes[0], outcomes)
    assert service.plan == packing.rule
    assert service.tried[0].failure == "the model failed"


@pytest.mark.parametrize(("budget_ms", "kept"), [(50, 5.0), (79, 7.0), (5, None)])
def test_the_load_that_keeps_the_budget_is_measured(world: World, budget_ms: float, kept: float | None) -> None:
    outcomes = search(world, base=Way(ms=4.0))
    world.probe = lambda instances, threads, traffic: 10.0 * traffic.concurrency
    packing = make_packing(world, outcomes, TRAFFIC, f"[budget]\nlatency_ms = {budget_ms}\n")
    found = WayFinder(packing).find_kept_load(outcomes[0], packing.rule)
    assert (found.load if found else None) == kept
    assert len(world.probed) <= 4


def test_the_rate_that_keeps_the_budget_is_measured(world: World) -> None:
    outcomes = search(world, base=Way(ms=4.0))
    world.probe = lambda instances, threads, traffic: traffic.rate_per_s / 10
    sections = "[workload]\nrate_per_s = 1000\n", "[budget]\nlatency_ms = 50\n"
    packing = make_packing(world, outcomes, *sections)
    found = WayFinder(packing).find_kept_load(outcomes[0], packing.rule)
    assert found is not None
    assert 450 <= found.load <= 500


def test_one_client_has_no_load_below_it(world: World) -> None:
    outcomes = search(world, base=Way(ms=4.0))
    packing = make_packing(world, outcomes)
    assert WayFinder(packing).find_kept_load(outcomes[0], packing.rule) is None
    assert world.probed == []


GPU = {"kind": "cuda", "units": 132, "memory_gb": 80.0}


def make_gpu_packing(world: World, outcomes: Sequence[Outcome], *sections: str, **changes: Any) -> Packing:
    """As if the device were a GPU, on which each candidate took 1,000 MiB."""
    packing = make_packing(world, outcomes, *sections)
    inputs = replace(packing.inputs, target=replace(packing.inputs.target, **GPU))
    rule = plan_serving(inputs.spec, inputs.target, packing.trial.ingested.source)
    return replace(packing, inputs=inputs, rule=rule, **changes)


def on_gpu(outcome: Outcome, memory_mib: float | None = 1000.0, **session: Any) -> Outcome:
    assert outcome.measurement is not None
    measurement = replace(outcome.measurement, device_memory_mib=memory_mib)
    return replace(outcome, measurement=measurement, candidate=replace(outcome.candidate, session=session))


def test_instances_on_a_gpu_are_measured_side_by_side_and_served(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two instances get more out of this GPU than one, and four less than two."""
    shared_ms = {1: 4.0, 2: 5.0, 4: 12.0}
    drawn: list[Split] = []

    def draw(outcome: Outcome, split: Split, batches: Sequence[int], *_: object) -> ServiceCurve:
        drawn.append(split)
        points = tuple(CurvePoint(batch, None, (shared_ms[split.instances] * batch,) * 3) for batch in batches)
        return ServiceCurve(split.instances, split.threads, points)

    monkeypatch.setattr(ways, "find_curve", draw)
    outcomes = [on_gpu(outcome) for outcome in search(world, base=Way(ms=4.0))]
    world.probe = lambda instances, threads, traffic: {1: 32.0, 2: 20.0, 4: 21.0}[instances]
    service = WayFinder(make_gpu_packing(world, outcomes, TRAFFIC, GOAL)).choose(outcomes[0], outcomes)
    assert world.probed[0][:2] == (1, 1), "the rule's plan comes first"
    assert drawn == [Split(1, 1), Split(2, 1), Split(4, 1)], "each once, however many plans it is for"
    assert service.plan.instances == 2
    assert service.plan.reasons[-1] == ("each of the 2 instances has a copy of the model: 2 x 1,000 MiB of GPU memory")


@pytest.mark.parametrize(("bound", "took_mib", "instances"), [
    ("", 1000.0, {1, 2, 4}), ("memory_mib = 2500", 1000.0, {1, 2}), ("memory_mib = 1500", 1000.0, {1}),
    ("memory_mib = 900", 1000.0, set()),
    ("", 20_000.0, {1, 2}), ("", None, {1}),
])  # fmt: skip
def test_what_all_instances_take_keeps_the_memory_budget(
    world: World, bound: str, took_mib: float | None, instances: set[int]
) -> None:
    outcomes = [on_gpu(outcome, took_mib) for outcome in search(world, base=Way())]
    finder = WayFinder(make_gpu_packing(world, outcomes, TRAFFIC, f"[budget]\n{bound}\n"))
    finder._outcomes = {"base": outcomes[0]}
    assert {plan.instances for plan in finder._list_plans("base")} == instances


def test_the_graphs_of_all_shapes_count_for_memory(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    outcomes = [on_gpu(outcome, 1000.0) for outcome in search(world, base=Way())]

    def draw(outcome: Outcome, split: Split, batches: Sequence[int], *_: object) -> ServiceCurve:
        return ServiceCurve(split.instances, 1, (CurvePoint(1, None, (1.0,)),), device_memory_mib=1500.0)

    monkeypatch.setattr(ways, "find_curve", draw)
    finder = WayFinder(make_gpu_packing(world, outcomes, TRAFFIC, "[budget]\nmemory_mib = 2500\n"))
    finder._outcomes = {"base": outcomes[0]}
    assert {plan.instances for plan in finder._list_plans("base")} == {1}


def test_what_was_measured_of_one_instance_is_remembered(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The largest figure, and nothing is measured for it."""
    (outcome,) = [on_gpu(outcome, 1000.0) for outcome in search(world, base=Way())]
    drawn: list[Split] = []

    def draw(outcome: Outcome, split: Split, batches: Sequence[int], *_: object) -> ServiceCurve:
        drawn.append(split)
        return ServiceCurve(split.instances, 1, (CurvePoint(1, None, (1.0,)),), device_memory_mib=1500.0)

    monkeypatch.setattr(ways, "find_curve", draw)
    packing = make_gpu_packing(world, [outcome], TRAFFIC)
    finder = WayFinder(packing)
    assert (finder.find_known_mib(outcome), drawn) == (1000.0, [])
    assert finder.find_known_mib(on_gpu(outcome, None)) is None
    finder._outcomes = {"base": outcome}
    finder._list_plans("base")
    assert (finder.find_known_mib(outcome), len(drawn)) == (1500.0, 1)
    assert WayFinder(make_packing(world, [outcome], TRAFFIC)).find_known_mib(outcome) is None, "not a GPU's"


def test_a_model_that_is_compiled_at_each_load_has_one_instance(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    outcomes = [on_gpu(outcome) for outcome in search(world, base=Way())]
    finder = WayFinder(make_gpu_packing(world, outcomes, TRAFFIC))
    finder._outcomes = {"base": outcomes[0]}
    assert {plan.instances for plan in finder._list_plans("base")} == {1, 2, 4}
    monkeypatch.setattr(StubRuntime, "builds_to_load", True)
    assert {plan.instances for plan in finder._list_plans("base")} == {1}


@pytest.mark.parametrize(("is_gpu", "warm"), [(True, 1), (False, 0)])
def test_a_gpu_is_warm_before_it_is_compared(
    world: World, monkeypatch: pytest.MonkeyPatch, is_gpu: bool, warm: int
) -> None:
    asked: list[int] = []
    probe = ways.probe_package

    def note(*arguments: Any, warm_instances: int, **options: Any) -> Any:
        asked.append(warm_instances)
        return probe(*arguments, **options)

    monkeypatch.setattr(ways, "probe_package", note)
    outcomes = [on_gpu(outcome) for outcome in search(world, base=Way())]
    make = make_gpu_packing if is_gpu else make_packing
    WayFinder(make(world, outcomes, TRAFFIC, "[optimize]\nmax_minutes = 1e-9\n")).choose(outcomes[0], outcomes)
    assert asked == [warm]


def test_texts_on_a_gpu_share_calls_in_both_ways(world: World) -> None:
    outcomes = [on_gpu(outcome) for outcome in search(world, base=Way())]
    finder = WayFinder(make_gpu_packing(world, outcomes, TRAFFIC, pipeline="text"))
    finder._outcomes = {"base": outcomes[0]}
    assert {(plan.front, plan.lengths) for plan in finder._list_plans("base")} == {
        ("ensemble", "pad"), ("in_process", "sorted"), ("in_process", "pad"),
    }  # fmt: skip


def test_only_engines_that_record_graphs_are_served_without(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choices, "has_mixed_shapes", lambda *_: True)
    outcomes = [on_gpu(outcome) for outcome in search(world, base=Way())]
    finder = WayFinder(make_gpu_packing(world, outcomes, TRAFFIC))
    finder._outcomes = {"base": outcomes[0]}
    assert {plan.cuda_graphs for plan in finder._list_plans("base")} == {True}
    monkeypatch.setattr(StubRuntime, "job_options", lambda *_: {"graph": True})
    assert {plan.cuda_graphs for plan in finder._list_plans("base")} == {True, False}
    loose = next(plan for plan in finder._list_plans("base") if not plan.cuda_graphs)
    assert finder._list_shares(loose) == (Split(1, 1, cuda_graphs=False),)
