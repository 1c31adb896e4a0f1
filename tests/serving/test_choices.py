from __future__ import annotations

from dataclasses import replace

import pytest

from packc.serving.choices import (
    Split,
    describe_queue,
    fits_memory,
    is_better,
    keeps_budget,
    list_batches,
    list_plans,
    list_splits,
    rank_key,
)
from packc.serving.plan import ServingPlan
from packc.serving.queue import LoadFigures
from packc.spec.model import BudgetSection, Range, TargetSpec, WorkloadSection
from serving_parts import device, source
from target_spec import target_spec

RULE = ServingPlan(1, 4, 16, 0, ("by rule",))
BUDGET = BudgetSection(latency_ms=20.0)


def make_spec(clients: int = 8, rate_per_s: float = 0.0, budget: BudgetSection = BUDGET) -> TargetSpec:
    workload = WorkloadSection(batch=Range(typical=1, max=16), concurrency=clients, rate_per_s=rate_per_s)
    return target_spec(budget=budget, workload=workload)


def test_splits_use_all_cores_in_every_way_that_divides_them() -> None:
    assert list_splits(make_spec(), device(), source()) == (Split(4, 1), Split(2, 2), Split(1, 4))
    assert list_splits(make_spec(), device(units=1), source()) == (Split(1, 1),)


@pytest.mark.parametrize("units", [1, 2, 6, 7, 48, 96])
def test_splits_never_take_more_cores_than_there_are(units: int) -> None:
    splits = list_splits(make_spec(clients=500), device(units=units, memory_gb=None), source())
    assert 1 <= len(splits) <= 6
    assert all(split.instances * split.threads <= units for split in splits)
    assert {1, units} <= {split.threads for split in splits}


def test_instances_are_bounded_by_clients_and_memory() -> None:
    assert list_splits(make_spec(clients=2), device(), source())[0] == Split(2, 1)
    bounded = make_spec(budget=BudgetSection(memory_mib=500))
    assert {split.instances for split in list_splits(bounded, device(), source())} == {1}
    heavy = source(weights_mib=2000.0)
    assert max(split.instances for split in list_splits(make_spec(), device(), heavy)) == 1
    assert list_splits(make_spec(clients=1, rate_per_s=50), device(), source())[0] == Split(4, 1)


GPU = device(kind="cuda", units=132, memory_gb=80.0)


def test_a_gpu_has_a_few_instances_that_share_it() -> None:
    assert list_splits(make_spec(), GPU, source()) == (Split(1, 1), Split(2, 1), Split(4, 1))
    assert list_splits(make_spec(clients=3), GPU, source()) == (Split(1, 1), Split(2, 1))
    assert list_splits(make_spec(), GPU, source(weights_mib=15_000.0)) == (Split(1, 1),)


def test_plans_of_a_gpu_share_it_in_every_way() -> None:
    plans = list_plans(make_spec(), GPU, source(), RULE, ("ensemble", "in_process"))
    assert {plan.instances for plan in plans} == {1, 2, 4}, "nothing is left to the clients, which have a CPU"
    assert {plan.token_budget for plan in plans if plan.front == "in_process"} == {16384}
    without = [plan for plan in plans if not plan.cuda_graphs]
    assert {(plan.front, plan.instances) for plan in without} == {("ensemble", 1)}
    assert {plan.queue_batch for plan in without} == {1, 2, 4, 8, 16}
    assert all(plan.cuda_graphs for plan in list_plans(make_spec(), GPU, source(dynamic=False), RULE))
    assert all(plan.cuda_graphs for plan in list_plans(make_spec(), device(), source(), RULE))


def test_copies_of_a_model_have_to_fit_into_the_memory_and_its_budget() -> None:
    small = device(kind="cuda", memory_gb=10.0)
    unbounded, bounded = BudgetSection(), BudgetSection(memory_mib=1000)
    assert fits_memory(4, 1900.0, unbounded, small)
    assert not fits_memory(4, 1920.0, unbounded, small)
    assert fits_memory(2, 500.0, bounded, small)
    assert not fits_memory(2, 501.0, bounded, small)
    assert not fits_memory(1, 1001.0, bounded, small), "graphs of all shapes take more than what was judged before"
    assert not fits_memory(1, 9e9, unbounded, small)
    assert fits_memory(1, None, bounded, small), "nobody knows"
    assert not fits_memory(2, None, unbounded, small)
    assert fits_memory(8, None, bounded, device())


def test_batches_reach_from_one_request_to_all_that_can_wait() -> None:
    assert list_batches(make_spec(clients=4), RULE) == (1, 2, 4, 8, 16)
    assert list_batches(make_spec(clients=4), replace(RULE, max_batch_size=1)) == (1, 2, 4)
    assert list_batches(make_spec(clients=4), replace(RULE, max_batch_size=0)) == (1,)
    assert list_batches(make_spec(clients=500), RULE)[-1] == 64


def test_plans_serve_the_largest_request_whatever_the_queue_does() -> None:
    plans = list_plans(make_spec(), device(), source(), RULE)
    assert len(plans) == len(set(plans)) > 20
    assert all(plan.max_batch_size == 16 for plan in plans)
    assert {plan.queue_batch for plan in plans} == {1, 2, 4, 8, 16}
    assert all(plan.instances * plan.threads <= 4 for plan in plans)
    assert {plan.queue_delay_us for plan in plans} == {0, 400, 1000, 2000}
    assert any(plan.instances * plan.threads < 4 for plan in plans), "one that leaves a core to the others"


def test_each_front_has_all_plans_the_ensemble_first() -> None:
    one = list_plans(make_spec(), device(), source(), RULE)
    both = list_plans(make_spec(), device(), source(), RULE, ("ensemble", "in_process"))
    assert both[: len(one)] == one
    assert both[len(one) :] == tuple(replace(plan, front="in_process") for plan in one)


def test_a_lone_client_shares_no_batch() -> None:
    plans = list_plans(make_spec(clients=1), device(), source(), RULE)
    assert {(plan.queue_batch, plan.queue_delay_us) for plan in plans} == {(16, 0)}
    assert {plan.threads for plan in plans} == {1, 2, 4}


def test_without_a_batch_axis_nothing_waits() -> None:
    plans = list_plans(make_spec(), device(), source(batched=False), replace(RULE, max_batch_size=0))
    assert {(plan.max_batch_size, plan.preferred_batch_sizes, plan.queue_delay_us) for plan in plans} == {(0, (), 0)}


def test_delays_without_a_budget() -> None:
    plans = list_plans(make_spec(budget=BudgetSection()), device(), source(), RULE)
    assert {plan.queue_delay_us for plan in plans} == {0, 250, 1000}


def test_the_queue_of_a_plan() -> None:
    plan = ServingPlan(2, 1, 16, 500, (), preferred_batch_sizes=(4,))
    batching = describe_queue(plan, skips_padding=False, cut=lambda lengths: [lengths])
    assert (batching.mixes_lengths, batching.cut) == (False, None), "an ensemble batches one length"
    one = replace(plan, front="in_process", length_multiple=16)
    batching = describe_queue(one, skips_padding=True, cut=lambda lengths: [lengths])
    assert (batching.mixes_lengths, batching.skips_padding, batching.length_multiple) == (True, True, 16)
    assert batching.cut is not None
    assert (batching.instances, batching.threads, batching.most, batching.delay_ms) == (2, 1, 4, 0.5)
    assert describe_queue(ServingPlan(1, 1, 0, 0, ()), skips_padding=False).most == 1
    assert describe_queue(plan, skips_padding=False, is_fed=True).is_fed


FAST, FULL, LATE = LoadFigures(100.0, 5.0, 9.0), LoadFigures(150.0, 9.0, 19.0), LoadFigures(200.0, 12.0, 30.0)


def test_the_goal_decides_among_those_that_keep_the_budget() -> None:
    by_latency = sorted((LATE, FULL, FAST), key=lambda figures: rank_key(figures, BUDGET, "latency"))
    assert by_latency == [FAST, FULL, LATE]
    assert min((FAST, FULL, LATE), key=lambda figures: rank_key(figures, BUDGET, "throughput")) is FULL
    assert not keeps_budget(LATE, BUDGET)
    assert not keeps_budget(FAST, BudgetSection(throughput_per_s=120))


def test_of_those_that_miss_the_nearest_comes_first() -> None:
    budget = BudgetSection(latency_ms=4.0, throughput_per_s=1000.0)
    ranked = sorted((LATE, FULL, FAST), key=lambda figures: rank_key(figures, budget, "throughput"))
    assert ranked == [FULL, LATE, FAST], "6.7 times too few a second, 7.5 times too late, 10 times too few"


def test_better_is_more_than_measuring_can_tell() -> None:
    near = replace(FULL, throughput_per_s=151.0)
    assert not is_better(near, FULL, BUDGET, "throughput")
    assert is_better(replace(FULL, throughput_per_s=160.0), FULL, BUDGET, "throughput")
    assert is_better(replace(near, latency_ms=10.0), FULL, BUDGET, "throughput")
    assert not is_better(replace(near, latency_ms=10.0), FULL, BUDGET, "latency")
    assert is_better(FAST, LATE, BUDGET, "throughput")
    as_late = replace(LATE, throughput_per_s=250.0, latency_ms=30.3)
    assert is_better(as_late, LATE, BUDGET, "throughput")
    assert not is_better(LATE, as_late, BUDGET, "throughput")
    assert not is_better(replace(as_late, latency_ms=32.0), LATE, BUDGET, "throughput")
    assert not is_better(LATE, FAST, BUDGET, "throughput")


def test_two_cores_are_split_in_three_ways() -> None:
    plans = list_plans(make_spec(), device(units=2), source(), RULE)
    assert {(plan.instances, plan.threads) for plan in plans} == {(2, 1), (1, 2), (1, 1)}
