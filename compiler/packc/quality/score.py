"""A quality score: how near a candidate's answers are to the source model's, with its uncertainty."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class QualityScore:
    """A quality metric with its 95 % interval over the evaluation samples."""

    metric: str
    value: float
    low: float
    high: float
    samples: int
    reference: float
    """The source model's own value on these samples: 1 for agreement, 0 for errors, its accuracy for accuracy."""
    worst_drop: float
    """Upper end of the 95 % interval of how far the candidate is worse than the source model on the same samples."""
