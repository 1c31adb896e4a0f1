from __future__ import annotations

import itertools

import numpy as np
import pytest

from packc.package.pipelines.batches import CALL_TOKENS, cut_batches, round_up


def cost(lengths: list[int], calls: list[list[int]]) -> int:
    return sum(CALL_TOKENS + len(call) * max(lengths[i] for i in call) for call in calls)


@pytest.mark.parametrize("policy", ["pad", "sorted", "single"])
@pytest.mark.parametrize("budget", [1, 64, 10_000])
def test_every_text_is_in_one_call(policy: str, budget: int) -> None:
    lengths = np.random.default_rng(0).integers(1, 60, 25).tolist()
    calls = cut_batches(lengths, policy, budget)
    assert sorted(itertools.chain(*calls)) == list(range(25))
    assert all(len(call) == 1 or len(call) * max(lengths[i] for i in call) <= budget for call in calls)
    assert cut_batches([], policy, budget) == []


def test_pad_keeps_the_order_and_fills_calls() -> None:
    assert cut_batches([3, 9, 4], "pad", 100) == [[0, 1, 2]]
    assert cut_batches([3, 9, 4, 5], "pad", 18) == [[0, 1], [2, 3]]
    assert cut_batches([30, 2, 2], "pad", 18) == [[0], [1, 2]]


def test_single() -> None:
    assert cut_batches([3, 9], "single", 1) == [[0], [1]]


def test_sorted_puts_neighbours_together_and_few_short_ones_too() -> None:
    assert cut_batches([100, 8, 101, 9], "sorted", 4096) == [[1, 3], [0, 2]]
    assert cut_batches([8, 9, 10], "sorted", 4096) == [[0, 1, 2]]  # a call costs more than three padded tokens


def test_sorted_costs_least() -> None:
    generator = np.random.default_rng(1)
    for _ in range(20):
        lengths = generator.integers(1, 50, 6).tolist()
        order = sorted(range(6), key=lengths.__getitem__)
        ways = []
        for cuts in itertools.product((False, True), repeat=5):
            ends = [i + 1 for i, cut in enumerate(cuts) if cut] + [6]
            ways.append([order[a:b] for a, b in itertools.pairwise([0, *ends])])
        assert cost(lengths, cut_batches(lengths, "sorted", 4096)) == min(cost(lengths, way) for way in ways)


def test_lengths_that_round_alike_share_a_call() -> None:
    assert round_up(17, 16) == 32
    assert cut_batches([1, 17, 32, 16], "sorted", 4096, multiple=32) == [[0, 1, 2, 3]]
    assert cut_batches([1, 17, 32], "pad", 64, multiple=32) == [[0, 1], [2]]
