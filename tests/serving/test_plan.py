from __future__ import annotations

import pytest

from packc.serving.plan import ServingPlan, describe_plan, limit_instances, plan_serving, set_graphs
from packc.spec.model import BudgetSection, Range, WorkloadSection
from packc.spec.optimize import Goal, OptimizeSection
from serving_parts import device, source
from target_spec import target_spec


def workload(clients: int, sequence: Range | None = None) -> WorkloadSection:
    return WorkloadSection(batch=Range(typical=1, max=16), concurrency=clients, sequence=sequence)


@pytest.mark.parametrize(
    ("clients", "goal", "instances", "threads", "reason"),
    [
        (1, "latency", 1, 4, "1 instance on 4 cores: one client at a time"),
        (1, "throughput", 1, 4, "1 instance on 4 cores: one client at a time"),
        (4, "latency", 1, 4, "1 instance on 4 cores: 4 clients would not keep more of them busy"),
        (8, "latency", 4, 1, "4 instances on 4 cores: 8 clients keep all of them busy"),
        (3, "throughput", 3, 1, "3 instances on 4 cores: 3 clients keep all of them busy"),
        (2, "cost", 2, 2, "2 instances on 4 cores: 2 clients keep all of them busy"),
    ],
)
def test_instances_follow_the_clients(clients: int, goal: Goal, instances: int, threads: int, reason: str) -> None:
    spec = target_spec(workload=workload(clients), optimize=OptimizeSection(goal=goal))
    plan = plan_serving(spec, device(), source())
    assert (plan.instances, plan.threads, plan.reasons[0]) == (instances, threads, reason)


@pytest.mark.parametrize("units", [1, 2, 3, 6, 64])
@pytest.mark.parametrize("clients", [1, 2, 5, 500])
@pytest.mark.parametrize("goal", ["latency", "throughput"])
def test_the_cores_are_never_oversubscribed(units: int, clients: int, goal: Goal) -> None:
    spec = target_spec(workload=workload(clients), optimize=OptimizeSection(goal=goal))
    plan = plan_serving(spec, device(units=units), source())
    assert plan.instances >= 1
    assert plan.threads >= 1
    assert plan.instances * plan.threads <= units


def test_memory_bounds_the_instances() -> None:
    spec = target_spec(workload=workload(8))
    few = plan_serving(spec, device(memory_gb=4.0), source(weights_mib=400))
    assert (few.instances, few.threads) == (2, 2)
    assert few.reasons[0] == "2 instances: as many as fit 25% of the memory"
    bounded = target_spec(BudgetSection(memory_mib=512), workload=workload(8))
    assert plan_serving(bounded, device(), source()).instances == 1


def test_an_accelerator_gets_one_instance() -> None:
    plan = plan_serving(target_spec(workload=workload(8)), device("cuda", units=132), source())
    assert (plan.instances, plan.threads) == (1, 1)


def test_batches_need_a_batch_axis_everywhere() -> None:
    spec = target_spec(workload=workload(8))
    assert plan_serving(spec, device(), source()).max_batch_size == 16
    unbatched = plan_serving(spec, device(), source(batched=False))
    assert (unbatched.max_batch_size, unbatched.queue_delay_us) == (0, 0)
    assert unbatched.reasons[1] == "no batching: y has no batch axis"


@pytest.mark.parametrize(
    ("goal", "dynamic", "clients", "latency_ms", "delay_us"),
    [
        ("throughput", False, 8, 0, 1000),
        ("throughput", False, 8, 10, 500),
        ("throughput", False, 8, 100, 1000),
        ("throughput", True, 8, 0, 0),
        ("throughput", False, 4, 0, 0),
        ("latency", False, 8, 0, 0),
    ],
)
def test_only_throughput_with_one_shape_waits(
    goal: Goal, dynamic: bool, clients: int, latency_ms: float, delay_us: int
) -> None:
    spec = target_spec(
        BudgetSection(latency_ms=latency_ms), optimize=OptimizeSection(goal=goal), workload=workload(clients)
    )
    assert plan_serving(spec, device(), source(dynamic=dynamic)).queue_delay_us == delay_us


def test_one_length_makes_one_shape() -> None:
    fixed = workload(8, Range(typical=32, max=32))
    spec = target_spec(optimize=OptimizeSection(goal="throughput"), workload=fixed)
    assert plan_serving(spec, device(), source()).queue_delay_us == 1000


@pytest.mark.parametrize(
    ("goal", "instances", "reason"),
    [
        ("throughput", 4, "4 instances on 4 cores: 50 requests/s do not wait for each other"),
        ("latency", 1, "1 instance on 4 cores: each of 50 requests/s has all of them"),
    ],
)
def test_with_a_rate_clients_are_not_counted(goal: Goal, instances: int, reason: str) -> None:
    arrivals = WorkloadSection(batch=Range(typical=1, max=16), rate_per_s=50)
    spec = target_spec(workload=arrivals, optimize=OptimizeSection(goal=goal))
    plan = plan_serving(spec, device(), source())
    assert (plan.instances, plan.reasons[0]) == (instances, reason)
    assert plan_serving(spec, device(units=1), source()).instances == 1


def test_a_plan_in_words() -> None:
    assert describe_plan(ServingPlan(1, 2, 0, 0, ())) == "1 instance of 2 threads, no batching"
    assert describe_plan(ServingPlan(1, 1, 0, 0, (), cuda_graphs=False)).endswith("no batching, without CUDA graphs")
    plan = ServingPlan(2, 1, 16, 1500, (), front="in_process", preferred_batch_sizes=(4,))
    assert describe_plan(plan) == (
        "2 instances of 1 thread, batches up to 4, up to 1,500 us of waiting, in one process"
    )


def test_copies_are_limited_by_cores_and_memory() -> None:
    assert limit_instances(device(), source()) == 4
    assert limit_instances(device(), source(weights_mib=1500.0)) == 2
    assert limit_instances(device(memory_gb=None), source(weights_mib=1500.0)) == 4
    assert limit_instances(device(memory_gb=0.1), source(weights_mib=1500.0)) == 1


def test_an_engine_that_records_graphs_can_be_told_not_to() -> None:
    options = {"graph": True, "tf32": True}
    assert set_graphs(options, cuda_graphs=True) == options
    assert set_graphs(options, cuda_graphs=False) == {"graph": False, "tf32": True}
    assert set_graphs({"tf32": True}, cuda_graphs=False) == {"tf32": True}
