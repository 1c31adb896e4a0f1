"""The small mathematics of repeated times."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

NOISE_LIMIT = 0.10
"""Rounds whose medians spread by more than this share of the middle one are noisy."""


def percentile_ms(times_ms: Sequence[float], percentile: float) -> float:
    """The time that `percentile` % of the calls stay within, interpolated between neighbouring calls."""
    return float(np.percentile(times_ms, percentile))


def relative_spread(medians: Sequence[float]) -> float:
    """Distance of the largest from the smallest value, as a share of the middle one; 0 for one value."""
    return float(np.ptp(medians) / np.median(medians))


def spread_of_rounds(rounds_ms: Sequence[Sequence[float]]) -> float | None:
    """How much the rounds disagree about the median; above NOISE_LIMIT they are noisy. None for a single one."""
    if len(rounds_ms) < 2:
        return None
    return relative_spread([float(np.median(times_ms)) for times_ms in rounds_ms])


def needed_calls(percentile: float) -> int:
    """Calls below which a percentile is only the slowest call: 100 for p99, 20 for p95; at least 20."""
    return max(20, round(100 / (100 - percentile)))
