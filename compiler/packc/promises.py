"""The spec's promises beside what was measured: whether each is kept, and the words for it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from packc.measure.measurement import Measurement
from packc.quality.gate import quality_bound
from packc.quality.score import QualityScore
from packc.spec.model import ERROR_METRICS, BudgetSection, QualitySection

GPU_MEMORY = "GPU memory"
"""What the words for that promise begin with."""
PromiseKey = Literal["latency_ms", "throughput_per_s", "size_mib", "memory_mib"]


@dataclass(frozen=True, slots=True)
class BudgetPromise:
    """One bound of the budget and the figure that it is about."""

    key: PromiseKey
    measured: float
    """Infinite where nobody knows a figure that has a largest bound: such a promise is not kept."""
    bound: float
    text: str
    """ "p99 9.8 ms of 15 ms"."""

    @property
    def is_kept(self) -> bool:
        return self.measured >= self.bound if self.key == "throughput_per_s" else self.measured <= self.bound

    @property
    def miss_text(self) -> str:
        """`text` with the distance: "p99 18 ms of 15 ms, 20 % over"."""
        if self.key == "throughput_per_s":
            off, side = 1 - self.measured / self.bound, "below"
        else:
            off, side = self.measured / self.bound - 1, "over"
        return f"{self.text}, {format_figure(100 * off)} % {side}" if math.isfinite(off) else self.text


def list_promises(measurement: Measurement, budget: BudgetSection) -> tuple[BudgetPromise, ...]:
    """The bounds that the spec sets: latency and throughput are those of the first (typical) shape, memory is the GPU's
    where the model is on one."""
    typical = measurement.latencies[0]
    promises = list(list_speed_promises(typical.percentile_ms(budget.percentile), typical.throughput_per_s, budget))
    if budget.size_mib:
        text = f"{format_figure(measurement.size_mib)} MiB on disk of {format_figure(budget.size_mib)} MiB"
        promises.append(BudgetPromise("size_mib", measurement.size_mib, budget.size_mib, text))
    if budget.memory_mib:
        promises.append(_judge_memory(measurement, budget.memory_mib))
    return tuple(promises)


def _judge_memory(measurement: Measurement, bound_mib: float) -> BudgetPromise:
    if measurement.device_memory_mib is not None:
        return make_memory_promise(1, measurement.device_memory_mib, bound_mib)
    used_mib, bound = measurement.peak_rss_mib, f"of {format_figure(bound_mib)} MiB"
    if used_mib is None:
        return BudgetPromise("memory_mib", math.inf, bound_mib, f"nobody knows what memory it takes {bound}")
    return BudgetPromise("memory_mib", used_mib, bound_mib, f"peak memory {format_figure(used_mib)} MiB {bound}")


def make_memory_promise(instances: int, instance_mib: float, bound_mib: float) -> BudgetPromise:
    """The bound on a GPU's memory, of so many instances that each take `instance_mib`."""
    count = f"{instances} x " if instances > 1 else ""
    text = f"{GPU_MEMORY} {count}{format_figure(instance_mib)} MiB of {format_figure(bound_mib)} MiB"
    return BudgetPromise("memory_mib", instances * instance_mib, bound_mib, text)


def list_speed_promises(latency_ms: float, throughput_per_s: float, budget: BudgetSection) -> tuple[BudgetPromise, ...]:
    """The bounds on latency (`latency_ms` is at the budget's percentile) and throughput that the spec sets."""
    promises = []
    if budget.latency_ms:
        text = f"p{budget.percentile:g} {format_figure(latency_ms)} ms of {format_figure(budget.latency_ms)} ms"
        promises.append(BudgetPromise("latency_ms", latency_ms, budget.latency_ms, text))
    if budget.throughput_per_s:
        text = f"{format_figure(throughput_per_s)} samples/s of at least {format_figure(budget.throughput_per_s)}"
        promises.append(BudgetPromise("throughput_per_s", throughput_per_s, budget.throughput_per_s, text))
    return tuple(promises)


def describe_score(score: QualityScore) -> str:
    """ "neighbour_agreement 0.937 (95 % interval 0.921 to 0.952)"; accuracy also names the source model's."""
    ends = f"95 % interval {format_share(score.low)} to {format_share(score.high)}"
    text = f"{score.metric} {format_share(score.value)} ({ends})"
    return f"{text}, the source model's {format_share(score.reference)}" if score.metric == "accuracy" else text


def describe_bound(metric: str, section: QualitySection) -> str:
    """ "at least 0.9", "at most 0.01", "at most 0.02 worse than the source model"."""
    bound = quality_bound(section, metric)
    if bound.kind == "max_drop":
        return f"at most {bound.value:g} worse than the source model"
    return f"at most {bound.value:g}" if metric in ERROR_METRICS else f"at least {bound.value:g}"


def format_figure(value: float) -> str:
    """Three significant digits, thousands in full: 9.81, 24, 1,204."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def format_share(value: float) -> str:
    """Enough digits to tell near-perfect from perfect: 0.9372, 0.99998, 1."""
    return f"{value:.4g}" if abs(1 - value) >= 1e-3 else f"{value:.6g}"
