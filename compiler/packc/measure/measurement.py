"""What was measured of one candidate. Every figure carries what it was measured on; none is an estimate."""

from __future__ import annotations

from dataclasses import dataclass

from packc.jobs.job import GpuState
from packc.measure.statistics import percentile_ms
from packc.tensors import ShapeCase


@dataclass(frozen=True, slots=True)
class Latency:
    """Latency of one call at one shape, over all rounds."""

    case: ShapeCase
    p50_ms: float
    p99_ms: float
    min_ms: float
    throughput_per_s: float
    """Samples a second of one caller: batch x calls / busy seconds."""
    samples: int
    """Calls timed."""
    noisy: bool
    """Rounds disagree: their medians spread by more than 10 % of the middle one."""
    times_ms: tuple[float, ...]
    """Every timed call, in order."""
    spread: float | None = 0.0
    """Distance between the medians of the rounds, as a share of the middle one; None for a single round, as nobody
    knows how far others would be from it."""

    def percentile_ms(self, percentile: float) -> float:
        """Latency that `percentile` % of the calls stay within."""
        return percentile_ms(self.times_ms, percentile)


@dataclass(frozen=True, slots=True)
class Measurement:
    """One candidate on one device."""

    latencies: tuple[Latency, ...]
    """The typical shape first."""
    load_s: float | None
    """Median over fresh processes of reading and preparing the artifact; None where they also built it."""
    peak_rss_mib: float | None
    """Of the largest of those processes; None where they also built the artifact."""
    size_mib: float
    """All files of the artifact."""
    threads: int
    device: str
    versions: tuple[tuple[str, str], ...]
    device_memory_mib: float | None = None
    """Of a GPU: what the model took of its memory; None on a CPU."""
    gpu_states: tuple[GpuState, ...] = ()
    """How the GPU ran in each round; empty on a CPU, and where nobody tells."""
