from __future__ import annotations

import time

import numpy as np
import pytest

from packc.quality import bootstrap
from packc.quality.bootstrap import max_interval, mean_interval, paired_drop_interval, resample_weights, wilson_interval

VALUES = np.random.default_rng(1).normal(5.0, 2.0, size=200)


def test_the_interval_of_a_mean_is_the_normal_one_on_normal_data() -> None:
    low, high = mean_interval(VALUES)
    half = 1.96 * VALUES.std() / np.sqrt(200)
    assert (low, high) == pytest.approx((VALUES.mean() - half, VALUES.mean() + half), abs=0.04)


def test_intervals_repeat_and_are_quick() -> None:
    start = time.process_time()
    first = mean_interval(VALUES)
    assert time.process_time() - start < 0.3
    assert mean_interval(VALUES) == first


def test_blocks_bound_the_memory_and_change_nothing_in_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = mean_interval(VALUES)
    monkeypatch.setattr(bootstrap, "BLOCK_VALUES", 200 * 7)
    assert mean_interval(VALUES) == pytest.approx(whole, abs=1e-12), "the draws are the same, block by block"


def test_the_interval_covers_the_truth_about_95_times_in_100() -> None:
    rng = np.random.default_rng(3)
    covered = 0
    for _ in range(200):
        low, high = mean_interval(rng.exponential(size=100))
        covered += low <= 1.0 <= high
    assert 0.88 <= covered / 200 <= 0.99


def test_a_maximum_is_bounded_by_what_was_seen() -> None:
    low, high = max_interval(VALUES)
    assert low < high == VALUES.max()


def test_weights_are_counts_of_draws() -> None:
    weights = resample_weights(30)
    assert weights.shape == (bootstrap.RESAMPLES, 30)
    assert (weights.sum(axis=1) == 30).all()


@pytest.mark.parametrize(
    ("share", "n", "expected"),
    [
        (1.0, 200, (0.98115, 1.0)),
        (0.5, 10, (0.23659, 0.76341)),  # Wilson's interval of 5 in 10
        (0.0, 10, (0.0, 0.27753)),
    ],
)
def test_wilson(share: float, n: int, expected: tuple[float, float]) -> None:
    assert wilson_interval(share, n) == pytest.approx(expected, abs=1e-5)


def test_a_paired_drop_counts_changes_alone() -> None:
    before = np.arange(200) < 150
    same = paired_drop_interval(before, before)
    assert same == pytest.approx((-0.01372, 0.01372), abs=1e-5)
    worse = before.copy()
    worse[:20] = False
    low, high = paired_drop_interval(before, worse)
    assert low > 0.05
    assert high > 0.1
