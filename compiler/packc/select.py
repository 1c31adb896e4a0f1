"""Measurements -> Verdict: the best candidate that keeps every promise, or how near the others came.

A pure function.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from packc.candidate import Candidate
from packc.measure.measurement import Measurement
from packc.quality.score import QualityScore

Status = Literal["kept", "budget_missed", "quality_missed", "failed"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """All that came of one candidate."""

    candidate: Candidate
    model: Path | None
    """Main file of the lowered or built artifact; None when it could not be made."""
    measurement: Measurement | None
    """None when it failed, or when the quality gate refused it before it was timed."""
    quality: QualityScore | None
    failure: str | None
    warnings: tuple[str, ...]
    """Visible remarks of the passes: a fusion that was expected and did not happen."""


@dataclass(frozen=True, slots=True)
class Miss:
    """One promise that one candidate breaks, with the numbers."""

    candidate: str
    promise: str
    """"quality", "latency_ms", "throughput_per_s", "size_mib" or "memory_mib"."""
    measured: float
    bound: float

    @property
    def ratio(self) -> float:
        """How far off, as a ratio >= 1: 1.2 is 20 % over the bound (or 20 % below a floor)."""
        low, high = sorted((abs(self.measured), abs(self.bound)))
        return high / low if low > 0 else float("inf")


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was chosen and why."""

    met: bool | None
    """None when the promises could not be judged here."""
    chosen: str | None
    reasons: tuple[str, ...]
    """Sentences for people, the most important first: "budget met: p99 9.8 ms of 15"."""
    misses: tuple[Miss, ...]
    """Of the nearest candidates (at most three), nearest first; empty when the promises are kept."""
