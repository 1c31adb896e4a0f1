"""Of a manifest, what explains the figures: the physical limit of a call, and what int8 costs in each layer."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PeakRecord:
    """The best matrix product of one precision."""

    precision: str
    gflop_per_s: float
    library: str
    """That reached it; empty for a figure of a profile."""


@dataclass(frozen=True, slots=True)
class LimitRecord:
    """How near one candidate came to the physical limit at the typical shape."""

    candidate: str
    floor_ms: float
    """Estimated: no call can take less."""
    share: float
    """The floor as a share of the measured p50; above 1 when the peaks were measured on a busier machine, or a
    profile states too little."""
    bound: str
    """ "compute" or "memory"."""
    rate: float
    """GFLOP/s or GB/s that the floor rests on."""
    precision: str
    """Whose rate that is."""


@dataclass(frozen=True, slots=True)
class LimitsRecord:
    """The least work that a call at the typical shape takes, and what the device can do at best."""

    gflop: float
    """Of matrix products and convolutions."""
    weights: float
    """Elements of the constants that these read."""
    batch: int
    sequence: int | None
    threads: int
    source: str
    """Where the peaks come from: "measured here", "of the profile nvidia-h200-sxm"."""
    peaks: tuple[PeakRecord, ...]
    candidates: tuple[LimitRecord, ...]


@dataclass(frozen=True, slots=True)
class LayerRecord:
    """What int8 costs in one linear layer; mirrors packc.passes.sensitivity.LayerSensitivity."""

    name: str
    kind: str
    """"attention key", "ffn down", ..., "other"."""
    block: int | None
    """Which repetition it belongs to, from 0; None outside the repeated structure."""
    error: float
    """Change of the answer, relative to its norm, when this layer alone is int8."""
    cost_share: float
    """Of the multiply-adds of all linear layers."""
    is_kept: bool
    """Whether the chosen candidate keeps it in a higher precision."""


@dataclass(frozen=True, slots=True)
class SensitivityRecord:
    """What was measured, on calibration samples, to choose layers of mixed candidates by."""

    runtime: str
    """Of those candidates."""
    samples: int
    layers: tuple[LayerRecord, ...]
