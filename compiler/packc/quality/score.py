"""A quality score: how near a candidate's answers are to the source model's, with its uncertainty."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class QualityScore:
    """A quality metric with its 95 % bootstrap interval."""

    metric: str
    value: float
    low: float
    high: float
    samples: int
