"""Target profiles: what a device can do, as data. Shipped (`targets/*.toml`), the user's own, or probed ("host")."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from packc.tensors import Precision

TargetKind = Literal["cpu", "cuda", "jetson", "neuron"]


@dataclass(frozen=True, slots=True)
class Target:
    """One device. A figure that has no source is None, never a guess."""

    id: str
    name: str
    kind: TargetKind
    arch: str
    isa: tuple[str, ...]
    """Instruction-set flags of a CPU as /proc/cpuinfo spells them; empty for other kinds."""
    compute_capability: str | None
    """CUDA compute capability, "8.7"; None for other kinds."""
    units: int
    """Cores, SMs or NeuronCores."""
    memory_gb: float | None
    bandwidth_gb_s: float | None
    dense_peak_tflops: Mapping[Precision, float | None]
    """Dense peak of the whole device, TFLOP/s (TOP/s for int8)."""
    native: tuple[Precision, ...]
    """Precisions with hardware support."""
    compiler: str
    runtime: str
    notes: str
    sources: Mapping[str, str]
    """Figure -> where it comes from."""
    is_here: bool
    """Whether this machine is the device, so that what is measured here is true of it."""
