"""95 % intervals: how much a score would move if other samples of the same kind had been drawn.

The percentile bootstrap serves means and maxima. Shares of right answers get closed forms instead: the bootstrap of
two hundred right answers is [1, 1], as if nothing could go wrong with the next one.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

Values = npt.NDArray[np.float64]
Interval = tuple[float, float]

RESAMPLES = 1000
SEED = 20261101
Z = 1.959963984540054
"""Two-sided 95 % quantile of the normal distribution."""
BLOCK_VALUES = 2_000_000


def mean_interval(values: Values) -> Interval:
    """Bootstrap interval of the mean of `values` [n]."""
    return _interval(_resample(values, "mean"))


def max_interval(values: Values) -> Interval:
    """Bootstrap interval of the maximum of `values` [n]; its upper end is at most the maximum that was seen."""
    return _interval(_resample(values, "max"))


def resample_weights(n: int) -> Values:
    """How often each of n samples is drawn in each resample: [RESAMPLES, n], rows summing to n."""
    return np.random.default_rng(SEED).multinomial(n, np.full(n, 1 / n), size=RESAMPLES).astype(np.float64)


def quantile_interval(statistics: Values) -> Interval:
    """The middle 95 % of a statistic over resamples; resamples where it is not defined are left out."""
    return _interval(statistics[np.isfinite(statistics)])


def wilson_interval(share: float, n: int) -> Interval:
    """Wilson score interval of a share of n independent answers; never collapses, not even at 0 or 1."""
    centre = (share + Z**2 / (2 * n)) / (1 + Z**2 / n)
    half = Z / (1 + Z**2 / n) * math.sqrt(share * (1 - share) / n + Z**2 / (4 * n**2))
    return max(0.0, centre - half), min(1.0, centre + half)


def paired_drop_interval(before: npt.NDArray[np.bool_], after: npt.NDArray[np.bool_]) -> Interval:
    """Interval of how far the share of right answers falls from `before` to `after`, answered on the same n samples.

    Bonett and Price (2012), "Adjusted Wald confidence interval for a difference of binomial proportions based on
    paired data": only samples that changed count, and one change of each kind is added.
    """
    n = len(before) + 2
    lost = (float(np.sum(before & ~after)) + 1) / n
    gained = (float(np.sum(~before & after)) + 1) / n
    half = Z * math.sqrt((lost + gained - (lost - gained) ** 2) / n)
    return lost - gained - half, lost - gained + half


def _resample(values: Values, statistic: str) -> Values:
    rng = np.random.default_rng(SEED)
    block = max(1, BLOCK_VALUES // len(values))
    parts = []
    for start in range(0, RESAMPLES, block):
        rows = min(block, RESAMPLES - start)
        drawn = values[rng.integers(len(values), size=(rows, len(values)))]
        parts.append(drawn.mean(axis=1) if statistic == "mean" else drawn.max(axis=1))
    return np.concatenate(parts)


def _interval(statistics: Values) -> Interval:
    low, high = np.quantile(statistics, [0.025, 0.975])
    return float(low), float(high)
