"""Metrics of embeddings as they are used: which samples are alike, and which are each other's neighbours."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from packc.errors import DataError, Diagnostic
from packc.quality.bootstrap import mean_interval, quantile_interval, resample_weights
from packc.quality.score import QualityScore

Values = npt.NDArray[np.float64]

NEIGHBOURS = 10
LEAST_SAMPLES = 12
MOST_RANKED = 500
TIE = 1e-6
BLOCK_QUERIES = 512


def score_neighbours(reference: Values, candidate: Values) -> QualityScore:
    """neighbour_agreement: the share of each sample's nearest neighbours by cosine that stay its neighbours.

    `reference` and `candidate` are vectors [n, width]. Ten neighbours, fewer below 41 samples: at most a quarter of
    the others, so that chance alone never agrees on more. Ties in the reference may be broken either way. The
    interval is the bootstrap over samples as queries.
    """
    n = check_count("neighbour_agreement", len(reference))
    k = min(NEIGHBOURS, (n - 1) // 4)
    shares = np.concatenate(
        [
            _shared_neighbours(reference, candidate, np.arange(start, min(n, start + BLOCK_QUERIES)), k)
            for start in range(0, n, BLOCK_QUERIES)
        ]
    )
    low, high = mean_interval(shares)
    return QualityScore("neighbour_agreement", float(shares.mean()), low, high, n, 1.0, 1.0 - low)


def score_spearman(reference: Values, candidate: Values) -> QualityScore:
    """spearman: rank correlation of all pairwise cosines; vectors are [n, width].

    Of single numbers (the scores of a re-ranker) the numbers themselves are ranked, not their cosines.

    Above 500 samples, 500 evenly spaced ones are ranked. The interval is the bootstrap over samples (not pairs, which
    are not independent); ranks are those of the whole set, which on embeddings moves its ends by less than 0.003.
    """
    n = check_count("spearman", len(reference))
    if reference.shape[1] == 1:
        return _score_order(reference[:, 0], candidate[:, 0])
    kept = np.unique(np.linspace(0, n - 1, min(n, MOST_RANKED)).astype(int))
    upper = np.triu_indices(len(kept), 1)
    ranks = [
        average_ranks((_unit(vectors[kept]) @ _unit(vectors[kept]).T)[upper]) for vectors in (reference, candidate)
    ]
    x, y = (rank - rank.mean() for rank in ranks)
    weights = resample_weights(len(kept))

    def weigh(pairs: Values) -> Values:
        """Sum over pairs of each resample, a pair counting as often as both its samples were drawn."""
        square = np.zeros((len(kept), len(kept)))
        square[upper] = pairs
        return np.asarray(((weights @ square) * weights).sum(axis=1), np.float64)

    total, sum_x, sum_y = weigh(np.ones_like(x)), weigh(x), weigh(y)
    value = _correlation(np.array([x @ y]), np.array([x @ x]), np.array([y @ y]))[0]
    low, high = quantile_interval(
        _correlation(
            weigh(x * y) - sum_x * sum_y / total, weigh(x * x) - sum_x**2 / total, weigh(y * y) - sum_y**2 / total
        )
    )
    return QualityScore("spearman", float(value), low, high, len(kept), 1.0, 1.0 - low)


def _score_order(reference: Values, candidate: Values) -> QualityScore:
    """Rank correlation of two lists of scores [n]; the interval is the bootstrap over samples."""
    x, y = (ranks - ranks.mean() for ranks in (average_ranks(reference), average_ranks(candidate)))
    weights = resample_weights(len(x))

    def correlate(weights: Values) -> Values:
        total = weights.sum(axis=1)
        sum_x, sum_y = weights @ x, weights @ y
        covariance = weights @ (x * y) - sum_x * sum_y / total
        return _correlation(covariance, weights @ (x * x) - sum_x**2 / total, weights @ (y * y) - sum_y**2 / total)

    value = float(correlate(np.ones((1, len(x))))[0])
    low, high = quantile_interval(correlate(weights))
    return QualityScore("spearman", value, low, high, len(x), 1.0, 1.0 - low)


def average_ranks(values: Values) -> Values:
    """Ranks from 1; equal values share the mean of theirs."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks = np.cumsum(counts) - (counts - 1) / 2
    return np.asarray(ranks[inverse], np.float64)


def _shared_neighbours(reference: Values, candidate: Values, queries: npt.NDArray[np.int_], k: int) -> Values:
    expected, found = _cosines(reference, queries), _cosines(candidate, queries)
    nearest = np.argpartition(found, -k, axis=1)[:, -k:]
    threshold = np.partition(expected, -k, axis=1)[:, -k, None]
    return np.asarray((np.take_along_axis(expected, nearest, axis=1) >= threshold - TIE).mean(axis=1), np.float64)


def _cosines(vectors: Values, queries: npt.NDArray[np.int_]) -> Values:
    """Cosines of the queries with all vectors, [len(queries), n]; a vector is never its own neighbour."""
    unit = _unit(vectors)
    cosines = unit[queries] @ unit.T
    cosines[np.arange(len(queries)), queries] = -np.inf
    return np.asarray(cosines, np.float64)


def _unit(vectors: Values) -> Values:
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.where(norms == 0, 1.0, norms), np.float64)


def _correlation(covariance: Values, variance_x: Values, variance_y: Values) -> Values:
    """Pearson's correlation; 0 where one side does not vary."""
    scale = np.sqrt(np.maximum(variance_x, 0) * np.maximum(variance_y, 0))
    return np.asarray(np.clip(np.divide(covariance, scale, out=np.zeros_like(scale), where=scale > 0), -1, 1))


def check_count(metric: str, n: int) -> int:
    """`n`, when so many samples are enough to tell neighbours and ranks from chance. Raises DataError."""
    if n < LEAST_SAMPLES:
        raise DataError(
            Diagnostic(
                f"{metric} needs at least {LEAST_SAMPLES} evaluation samples, there are {n}",
                hint='give more samples in [quality] data, or choose metric = "cosine"',
            )
        )
    return n
