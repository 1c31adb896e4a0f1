from __future__ import annotations

import time

import numpy as np
import pytest

from packc.errors import DataError
from packc.quality import similarity
from packc.quality.similarity import average_ranks, score_neighbours, score_spearman

RNG = np.random.default_rng(0)
VECTORS = RNG.normal(size=(200, 32))


def blur(amount: float) -> similarity.Values:
    return np.asarray(VECTORS + amount * np.random.default_rng(1).normal(size=VECTORS.shape))


def naive_overlap(reference: similarity.Values, candidate: similarity.Values, k: int) -> float:
    shares = []
    for i in range(len(reference)):
        nearest = []
        for vectors in (reference, candidate):
            unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
            order = [int(j) for j in np.argsort(-(unit @ unit[i]), kind="stable") if j != i]
            nearest.append(set(order[:k]))
        shares.append(len(nearest[0] & nearest[1]) / k)
    return float(np.mean(shares))


def test_neighbour_agreement_is_the_overlap_of_the_ten_nearest() -> None:
    score = score_neighbours(VECTORS, blur(0.2))
    assert score.value == pytest.approx(naive_overlap(VECTORS, blur(0.2), 10), abs=1e-12)
    assert score.low < score.value < score.high
    assert (score.samples, score.reference) == (200, 1.0)
    assert score.worst_drop == pytest.approx(1 - score.low)


def test_fewer_samples_mean_fewer_neighbours() -> None:
    few, blurred = VECTORS[:21], blur(0.5)[:21]
    assert score_neighbours(few, blurred).value == pytest.approx(naive_overlap(few, blurred, 5), abs=1e-12)


def test_queries_in_blocks_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = score_neighbours(VECTORS, blur(0.2))
    monkeypatch.setattr(similarity, "BLOCK_QUERIES", 33)
    assert score_neighbours(VECTORS, blur(0.2)) == whole


def test_repeated_samples_may_be_ordered_either_way() -> None:
    repeated = np.repeat(VECTORS[:10], 4, axis=0)
    shuffled_ties = repeated + 1e-9 * RNG.normal(size=repeated.shape)
    assert score_neighbours(repeated, shuffled_ties).value == 1.0


def test_a_collapsed_candidate_agrees_by_chance_alone() -> None:
    assert score_neighbours(VECTORS, np.ones_like(VECTORS)).value < 0.1
    assert score_spearman(VECTORS, np.ones_like(VECTORS)).value == 0.0


def test_spearman_equals_scipy() -> None:
    stats = pytest.importorskip("scipy.stats")
    upper = np.triu_indices(200, 1)
    cosines = []
    for vectors in (VECTORS, blur(0.4)):
        unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        cosines.append((unit @ unit.T)[upper])
    score = score_spearman(VECTORS, blur(0.4))
    assert score.value == pytest.approx(stats.spearmanr(*cosines).statistic, abs=1e-12)
    assert score.low < score.value < score.high
    assert score.high - score.low < 0.05


def test_the_spearman_interval_matches_the_bootstrap_that_ranks_every_resample_anew() -> None:
    stats = pytest.importorskip("scipy.stats")
    reference, candidate = VECTORS[:60], blur(0.5)[:60]
    rng = np.random.default_rng(5)
    values = []
    for _ in range(200):
        drawn = rng.integers(60, size=60)
        left, right = np.triu_indices(60, 1)
        apart = drawn[left] != drawn[right]
        cosines = []
        for vectors in (reference, candidate):
            unit = vectors[drawn] / np.linalg.norm(vectors[drawn], axis=1, keepdims=True)
            cosines.append((unit @ unit.T)[left, right][apart])
        values.append(stats.spearmanr(*cosines).statistic)
    score = score_spearman(reference, candidate)
    assert (score.low, score.high) == pytest.approx(tuple(np.quantile(values, [0.025, 0.975])), abs=0.02)


def test_spearman_of_many_samples_stays_quick() -> None:
    many = RNG.normal(size=(3000, 16))
    start = time.process_time()
    score = score_spearman(many, many + 0.1 * RNG.normal(size=many.shape))
    assert time.process_time() - start < 3
    assert score.samples == 500  # that is what was ranked


def test_ranks_average_over_ties() -> None:
    assert average_ranks(np.array([3.0, 1.0, 3.0, 2.0])).tolist() == [3.5, 1.0, 3.5, 2.0]


@pytest.mark.parametrize("score", [score_neighbours, score_spearman])
def test_too_few_samples_are_refused_with_a_way_out(score: object) -> None:
    with pytest.raises(DataError) as error:
        score(VECTORS[:11], VECTORS[:11])  # type: ignore[operator]
    assert error.value.render().splitlines()[-1] == (
        'hint: give more samples in [quality] data, or choose metric = "cosine"'
    )


def test_scores_of_a_re_ranker_are_ranked_themselves() -> None:
    stats = pytest.importorskip("scipy.stats")
    scores, noisy = VECTORS[:, :1], blur(0.5)[:, :1]
    score = score_spearman(scores, noisy)
    assert score.value == pytest.approx(stats.spearmanr(scores[:, 0], noisy[:, 0]).statistic, abs=1e-12)
    assert score.low < score.value < score.high
    assert score_spearman(scores, 3 * scores + 1).low == 1.0
