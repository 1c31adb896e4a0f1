"""How Triton should serve an artifact: instances, threads, batching and queue delay, by rule from the workload."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from packc.candidate import OptionValue
from packc.ingest.source import SourceModel
from packc.runtimes.runtime import GRAPH_OPTION
from packc.spec.model import TargetSpec, WorkloadSection
from packc.target import Target

MEMORY_SHARE = 0.25
"""Of the device's memory, at most, for the weights of all instances together."""
DELAY_SHARE = 0.05
"""Of the latency budget, at most, for waiting for a fuller batch."""
MOST_DELAY_US = 1000
SEVERAL = 2
"""Requests in flight on a GPU at a rate: enough for them to wait for each other."""

Front = Literal["ensemble", "in_process"]
"""Who tokenizes: a model of its own in front of the graph's, or the process that also runs the graph."""
Lengths = Literal["pad", "sorted", "single"]
"""How texts that wait at the same time share calls of the graph: see packc.package.pipelines.batches."""


@dataclass(frozen=True, slots=True)
class ServingPlan:
    """Serving choices for one model on one device; on a CPU instances x threads never exceeds the cores.

    On a GPU every instance is a copy of the model in the GPU's memory, whoever tokenizes.
    """

    instances: int
    threads: int
    """Intra-op threads of each instance."""
    max_batch_size: int
    """0 when the graph has no batch axis."""
    queue_delay_us: int
    """Longest wait for a fuller batch; counted against the latency budget."""
    reasons: tuple[str, ...]
    front: Front = "ensemble"
    """Of text pipelines; the others have no choice."""
    preferred_batch_sizes: tuple[int, ...] = ()
    """Where one is given, the queue makes no batch above the largest; a larger request still runs, alone."""
    lengths: Lengths = "pad"
    """In one process only: an ensemble pads each request to its own longest text."""
    length_multiple: int = 1
    """In one process only: lengths are rounded up to it, for runtimes that prepare each new shape."""
    token_budget: int = 4096
    """In one process only: padded tokens in one call, at most, unless one text alone has more."""
    cuda_graphs: bool = True
    """Whether an engine that can record CUDA graphs does. Other engines have no choice."""

    @property
    def queue_batch(self) -> int:
        """The most samples that the queue puts into one batch."""
        return max(self.preferred_batch_sizes, default=max(1, self.max_batch_size))


def describe_plan(plan: ServingPlan) -> str:
    """ "2 instances of 1 thread, batches up to 4, up to 250 us of waiting"."""
    batches = f", batches up to {plan.queue_batch}" if plan.queue_batch > 1 else ", no batching"
    delay = f", up to {plan.queue_delay_us:,} us of waiting" if plan.queue_delay_us else ""
    front = ", in one process" if plan.front == "in_process" else ""
    graphs = "" if plan.cuda_graphs else ", without CUDA graphs"
    threads = f"{plan.threads} thread{'s' if plan.threads != 1 else ''}"
    return f"{_instances(plan.instances)} of {threads}{batches}{delay}{front}{graphs}"


def set_graphs(options: Mapping[str, OptionValue], *, cuda_graphs: bool) -> Mapping[str, OptionValue]:
    """The `options` of an engine's `load`, told to record no CUDA graphs where the plan has none."""
    return options if cuda_graphs or not options.get(GRAPH_OPTION) else {**options, GRAPH_OPTION: False}


def plan_serving(spec: TargetSpec, target: Target, source: SourceModel) -> ServingPlan:
    """Serving choices from the workload alone, before anything was measured under load.

    On a CPU every instance gets its share of the cores. With more clients than one instance can answer, latency is
    clients / throughput, so instances on few threads win for latency and throughput alike: they lose nothing to
    threads that wait for each other. Another device has one instance, whose thread only feeds it: whether several
    overlap there is for measuring to tell.
    """
    if target.kind == "cpu":
        instances, why_instances = _count_instances(spec, target, source)
        threads = max(1, target.units // instances)
    else:
        instances, threads, why_instances = 1, target.session_threads, "1 instance, which has the device to itself"
    max_batch_size, why_batch = _choose_batch(spec.workload, source)
    clients = _count_clients(spec, target)
    queue_delay_us, why_delay = _choose_delay(spec, source, clients, instances, max_batch_size)
    return ServingPlan(instances, threads, max_batch_size, queue_delay_us, (why_instances, why_batch, *why_delay))


def _count_instances(spec: TargetSpec, target: Target, source: SourceModel) -> tuple[int, str]:
    cores, clients, rate = target.units, _count_clients(spec, target), spec.workload.rate_per_s
    if clients == 1 and not rate:
        return 1, f"1 instance on {_cores(cores)}: one client at a time"
    if clients < 2 * cores and spec.optimize.goal == "latency":
        few = f"{clients} clients would not keep more of them busy"
        return 1, f"1 instance on {_cores(cores)}: {f'each of {rate:g} requests/s has all of them' if rate else few}"
    if spec.budget.memory_mib:
        return 1, f"1 instance on {_cores(cores)}: each further one would add to the memory that is bounded"
    instances = min(clients, cores)
    if (most := limit_instances(target, source)) < instances:
        return most, f"{_instances(most)}: as many as fit {MEMORY_SHARE:.0%} of the memory"
    why = f"{rate:g} requests/s do not wait for each other" if rate else f"{clients} clients keep all of them busy"
    return instances, f"{_instances(instances)} on {_cores(cores)}: {why}"


def limit_instances(target: Target, source: SourceModel) -> int:
    """The most copies of the weights that fit MEMORY_SHARE of the memory, one at least; one a core where unknown."""
    if target.memory_gb is None or source.info.weights_mib <= 0:
        return target.units
    room_mib = MEMORY_SHARE * target.memory_gb * 1e9 / 2**20
    return max(1, min(target.units, int(room_mib // source.info.weights_mib)))


def _count_clients(spec: TargetSpec, target: Target) -> int:
    """Requests in flight at once. With a rate nobody knows; as many as there are cores make good use of a CPU."""
    if spec.workload.rate_per_s:
        return target.units if target.kind == "cpu" else SEVERAL
    return spec.workload.concurrency


def _choose_batch(workload: WorkloadSection, source: SourceModel) -> tuple[int, str]:
    unbatched = [tensor.name for tensor in (*source.inputs, *source.outputs) if not tensor.is_batched]
    if unbatched:
        return 0, f"no batching: {unbatched[0]} has no batch axis"
    return workload.batch.max, f"batches up to {workload.batch.max}, the largest of the workload"


def _choose_delay(
    spec: TargetSpec, source: SourceModel, clients: int, instances: int, max_batch_size: int
) -> tuple[int, tuple[str, ...]]:
    if max_batch_size <= 1 or clients <= instances:
        return 0, ()
    if spec.optimize.goal != "throughput":
        return 0, ("no queue delay: requests that wait already are batched, none waits for others",)
    if has_mixed_shapes(spec.workload, source):
        return 0, ("no queue delay: requests of different lengths do not share a batch",)
    bound_us = DELAY_SHARE * spec.budget.latency_ms * 1e3 or MOST_DELAY_US
    delay_us = round(min(bound_us, MOST_DELAY_US))
    return delay_us, (f"requests wait up to {delay_us} us for a fuller batch: the goal is throughput",)


def has_mixed_shapes(workload: WorkloadSection, source: SourceModel) -> bool:
    """Whether requests differ in more than their batch; Triton batches requests of one shape alone."""
    varies = any(isinstance(dim, str) and dim != "batch" for tensor in source.inputs for dim in tensor.shape)
    return varies and (workload.sequence is None or workload.sequence.typical < workload.sequence.max)


def _cores(count: int) -> str:
    return f"{count} core{'s' if count != 1 else ''}"


def _instances(count: int) -> str:
    return f"{count} instance{'s' if count != 1 else ''}"
