"""The physical limit, estimated: a call's multiplications at the best rate, or its weights' way from memory.

The best rates are those that were measured, which need not be the best there are. So these figures order candidates,
rule out what they leave far behind, and say about how much is left to gain. Pure functions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from packc.candidate import Candidate
from packc.measure.peak import GemmRate, Peaks, ReadRate
from packc.measure.work import Work
from packc.target import Target
from packc.tensors import Precision, ShapeCase

OF_PROFILE = "of the profile"
"""How the source of peaks begins that were not measured."""

CHANGES_WORK = ("prune_structure",)
"""Passes after which a graph computes less than the source's; what it then needs at least is not known."""

IN_INT8 = ("quantize_weights",)
"""Passes after which products are computed in int8, however few bits the weights are stored in."""

WINDOW_SHARE = 0.25
"""Of the flops, that convolutions with windows may have where a count is taken for the least: done in a quarter of the
multiplications, they would leave four fifths of it, which is what packc.search trusts in a floor."""

WEIGHT_BYTES: Mapping[Precision, float] = {
    "fp32": 4.0, "tf32": 4.0, "bf16": 2.0, "fp16": 2.0, "fp8": 1.0, "int8": 1.0, "int4": 0.5,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Floor:
    """The least that a call is estimated to take."""

    ms: float
    bound: Literal["compute", "memory"]
    """Which of the two it is that takes so long."""
    rate: float
    """GFLOP/s or GB/s of that bound."""
    precision: Precision
    """Whose rate that is: fp32's too for a candidate in less, where fp32 is faster."""


@dataclass(frozen=True, slots=True)
class Roofline:
    """A model's work at the workload's shapes, and a device's peaks."""

    cases: tuple[ShapeCase, ...]
    """The typical shape first."""
    work: tuple[Work, ...]
    """Of each case."""
    peaks: Peaks

    @property
    def is_least(self) -> bool:
        """Whether no way to compute the model takes far fewer multiplications than were counted."""
        return all(work.window_flops <= WINDOW_SHARE * work.flops for work in self.work)

    def find_floors(self, candidate: Candidate) -> tuple[Floor, ...] | None:
        """The candidate's at each case; None where nobody knows its precision's rate, or it computes something else."""
        if candidate.source != "model" or any(step.name in CHANGES_WORK for step in candidate.passes):
            return None
        products = find_products(candidate)
        floors = [find_floor(work, products, self.peaks, weights=candidate.precision) for work in self.work]
        known = tuple(floor for floor in floors if floor is not None)
        return known if len(known) == len(floors) else None

    def estimate_ms(self, candidate: Candidate) -> float:
        """The least that a call at the typical shape may take, for an order; infinite where nobody knows."""
        floor = find_floor(self.work[0], find_products(candidate), self.peaks, weights=candidate.precision)
        return float("inf") if floor is None else floor.ms


def find_products(candidate: Candidate) -> Precision:
    """The precision that products are computed in: another than the weights', where those alone are quantized."""
    if candidate.build is not None and candidate.build.options.get("quantize") == "weights":
        return "bf16" if candidate.build.options["precision"] == "bf16" else "fp32"
    return "int8" if any(step.name in IN_INT8 for step in candidate.passes) else candidate.precision


def find_floor(work: Work, products: Precision, peaks: Peaks, *, weights: Precision) -> Floor | None:
    """The longer of the time for the work at the best rate for its `products` and of that for reading its `weights`."""
    gemm = _find_gemm(products, peaks)
    if gemm is None:
        return None
    compute = Floor(work.flops / gemm.gflop_per_s / 1e6, "compute", gemm.gflop_per_s, gemm.precision)
    size_bytes = work.weights * WEIGHT_BYTES[weights]
    read = _find_read(size_bytes, peaks)
    if read is None:
        return compute
    memory = Floor(size_bytes / read.gb_per_s / 1e6, "memory", read.gb_per_s, weights)
    return max(compute, memory, key=lambda floor: floor.ms)


def read_profile(target: Target) -> Peaks:
    """The peaks that a target's profile states, for a GPU and for a device that is elsewhere.

    The bandwidth is that of memory, and weights that fit into a cache may be read faster: it bounds nothing where the
    size of that is not known, which no profile states and the driver of a GPU that is here tells.
    """
    gemm = tuple(GemmRate(precision, 1e3 * rate, "") for precision, rate in target.dense_peak_tflops.items())
    cache_mib, rate = target.cache_mib, target.bandwidth_gb_s
    reads = (ReadRate(cache_mib, rate),) if cache_mib is not None and rate is not None else ()
    return Peaks(gemm, reads, target.units, f"{OF_PROFILE} {target.profile or target.id}")


def _find_gemm(precision: Precision, peaks: Peaks) -> GemmRate | None:
    """The best rate that a candidate of this precision may use for some of its products: its own, or fp32's."""
    own = [rate for rate in peaks.gemm if rate.precision == precision]
    if not own:
        return None
    return max([*own, *(rate for rate in peaks.gemm if rate.precision == "fp32")], key=lambda rate: rate.gflop_per_s)


def _find_read(size_bytes: float, peaks: Peaks) -> ReadRate | None:
    """The rate at which a buffer of that size is read: the best of those measured that are not much smaller.

    None below the smallest that was measured: it may lie in a cache that is faster than all of them.
    """
    smaller = [read for read in peaks.reads if read.mib * 2**20 <= size_bytes]
    if not smaller:
        return None
    largest = max(smaller, key=lambda read: read.mib)
    return max((read for read in peaks.reads if read.mib >= largest.mib), key=lambda read: read.gb_per_s)
