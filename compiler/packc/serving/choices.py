"""Which serving plans there are for a workload on a device, and in which order predictions or figures put them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product

from packc.goals import SAME
from packc.ingest.source import SourceModel
from packc.serving.plan import Front, ServingPlan, has_mixed_shapes, limit_instances
from packc.serving.queue import Batching, Cut, LoadFigures
from packc.spec.model import BudgetSection, TargetSpec
from packc.spec.optimize import Goal
from packc.target import Target

MOST_THREAD_COUNTS = 6
"""A curve is measured for each of them."""
MOST_BATCH = 64
DELAY_SHARES = (0.02, 0.05, 0.1)
"""Of the latency budget, for waiting for a fuller batch."""
DELAYS_US = (250, 1000)
"""Where there is no budget."""


GPU_INSTANCES = (1, 2, 4)
"""On one GPU: one computes while another is fed; more than a few wait for each other."""
GPU_TOKEN_BUDGET = 16384
"""Of a call in one process: a GPU is not full at what a CPU's caches hold."""
GPU_MEMORY_SHARE = 0.8
"""Of a GPU's memory, at most, for what all instances were measured to take: each one's CUDA context comes on top."""


@dataclass(frozen=True, slots=True)
class Split:
    """How the device is shared out."""

    instances: int
    threads: int
    cuda_graphs: bool = True


def list_splits(spec: TargetSpec, target: Target, source: SourceModel) -> tuple[Split, ...]:
    """Full use of the cores, for each number of threads that divides them; the most instances first.

    There are no more instances than requests in flight, than memory allows, or than one where memory is bounded. A GPU
    has GPU_INSTANCES as far as there are requests in flight and room for the weights, the fewest first; what of its
    memory they really take is known of each candidate (`fits_memory`).
    """
    most = limit_instances(target, source)
    if not spec.workload.rate_per_s:
        most = min(most, spec.workload.concurrency)
    if target.kind != "cpu":
        return tuple(Split(count, target.session_threads) for count in GPU_INSTANCES if count <= most)
    cores = target.units
    most = 1 if spec.budget.memory_mib else most
    divisors = [threads for threads in range(1, cores + 1) if cores % threads == 0]
    step = (len(divisors) - 1) / (MOST_THREAD_COUNTS - 1)
    if len(divisors) > MOST_THREAD_COUNTS:
        divisors = [divisors[round(i * step)] for i in range(MOST_THREAD_COUNTS)]
    return tuple(dict.fromkeys(Split(min(most, cores // threads), threads) for threads in divisors))


def list_batches(spec: TargetSpec, rule: ServingPlan) -> tuple[int, ...]:
    """Sizes of batches worth a look, in samples: from one request up to what can wait at once; (1,) without batching.

    The largest that must be served is always among them.
    """
    if rule.max_batch_size == 0:
        return (1,)
    workload = spec.workload
    size = workload.batch.typical
    waiting = MOST_BATCH if workload.rate_per_s else min(MOST_BATCH, size * workload.concurrency)
    sizes = {size, rule.max_batch_size}
    while size < max(waiting, rule.max_batch_size):
        size *= 2
        sizes.add(size)
    return tuple(sorted(size for size in sizes if size <= max(waiting, rule.max_batch_size)))


def list_plans(
    spec: TargetSpec,
    target: Target,
    source: SourceModel,
    rule: ServingPlan,
    fronts: Sequence[Front] = ("ensemble",),
) -> tuple[ServingPlan, ...]:
    """Every plan worth a prediction, the simpler of two alike first. `rule` is the plan that the workload alone gives.

    `fronts` are those that the pipeline can have. Beside plans that use all cores there are some that leave one to the
    clients, the server and the tokenizer. On a GPU, where shapes vary, there are some without CUDA graphs: of the one
    instance of an ensemble, which gets every length as it comes.
    """
    splits = list_splits(spec, target, source)
    if target.kind == "cpu":
        splits += tuple(replace(split, instances=split.instances - 1) for split in splits if split.instances > 1)
    elif has_mixed_shapes(spec.workload, source):
        splits += (replace(splits[0], cuda_graphs=False),)
    alone = spec.workload.concurrency == 1 and not spec.workload.rate_per_s
    batches = (max(1, rule.max_batch_size),) if alone else list_batches(spec, rule)
    plans = []
    for front, split, batch in product(fronts, dict.fromkeys(splits), batches):
        fronted = replace(rule, front=front)
        if front == "in_process" and target.kind != "cpu":
            if not split.cuda_graphs:
                continue
            fronted = replace(fronted, token_budget=GPU_TOKEN_BUDGET)
        can_wait = batch > spec.workload.batch.typical and not alone
        for delay_us in (0, *_list_delays(spec.budget)) if can_wait else (0,):
            plans.append(_make_plan(fronted, split, batch, delay_us))
    return tuple(dict.fromkeys(plans))


def fits_memory(instances: int, instance_mib: float | None, budget: BudgetSection, target: Target) -> bool:
    """Whether so many instances of what took `instance_mib` of a GPU's memory keep the budget and leave room.

    Where nobody knows what one takes, one is all that fits. On a CPU, `list_splits` has seen to it.
    """
    if target.kind == "cpu":
        return True
    if instance_mib is None:
        return instances == 1
    room_mib = GPU_MEMORY_SHARE * target.memory_gb * 1e9 / 2**20 if target.memory_gb else float("inf")
    return instances * instance_mib <= min(room_mib, budget.memory_mib or room_mib)


def _list_delays(budget: BudgetSection) -> Sequence[int]:
    if not budget.latency_ms:
        return DELAYS_US
    return [round(share * budget.latency_ms * 1e3) for share in DELAY_SHARES]


def _make_plan(rule: ServingPlan, split: Split, batch: int, delay_us: int) -> ServingPlan:
    """The largest request must be served whatever the queue does: a smaller batch is a preferred size."""
    largest = max(batch, rule.max_batch_size) if rule.max_batch_size else 0
    preferred = (batch,) if batch < largest else ()
    return replace(
        rule,
        instances=split.instances,
        threads=split.threads,
        cuda_graphs=split.cuda_graphs,
        max_batch_size=largest,
        queue_delay_us=delay_us,
        preferred_batch_sizes=preferred,
        reasons=(),
    )


def describe_queue(plan: ServingPlan, *, skips_padding: bool, cut: Cut | None = None, is_fed: bool = False) -> Batching:
    """The plan as a queue sees it. `cut` is how the front that knows all texts of a batch lays them out in calls;
    `is_fed` says that the model computes on another device than the host's cores."""
    is_one = plan.front == "in_process"
    return Batching(
        instances=plan.instances,
        threads=plan.threads,
        most=plan.queue_batch,
        delay_ms=plan.queue_delay_us / 1e3,
        mixes_lengths=is_one,
        skips_padding=skips_padding,
        cut=cut if is_one else None,
        length_multiple=plan.length_multiple if is_one else 1,
        is_fed=is_fed,
    )


def keeps_budget(figures: LoadFigures, budget: BudgetSection) -> bool:
    """Whether latency and throughput are as promised."""
    is_fast = not budget.latency_ms or figures.latency_ms <= budget.latency_ms
    return is_fast and figures.throughput_per_s >= budget.throughput_per_s


def rank_key(figures: LoadFigures, budget: BudgetSection, goal: Goal) -> tuple[bool, float]:
    """Smaller is better: those that keep the budget first, by the goal; the others by how far off they are."""
    if not keeps_budget(figures, budget):
        late = figures.latency_ms / budget.latency_ms if budget.latency_ms else 1.0
        slow = budget.throughput_per_s / figures.throughput_per_s
        return True, max(late, slow)
    return False, figures.p50_ms if goal == "latency" else 1 / figures.throughput_per_s


def is_better(figures: LoadFigures, other: LoadFigures, budget: BudgetSection, goal: Goal) -> bool:
    """Whether `figures` beat `other` by more than measuring can tell.

    Of two that miss the budget alike, the better by the goal; of equal throughput (as at a rate that all can answer),
    the one with the clearly smaller latency.
    """
    (missed, size), (other_missed, other_size) = rank_key(figures, budget, goal), rank_key(other, budget, goal)
    if missed != other_missed:
        return other_missed
    if size * SAME < other_size:
        return True
    if size > other_size * SAME:
        return False
    if missed:
        return is_better(figures, other, BudgetSection(), goal)
    return goal != "latency" and figures.latency_ms * SAME**2 < other.latency_ms
