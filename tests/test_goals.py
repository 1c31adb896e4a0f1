from __future__ import annotations

import pytest

from packc.goals import describe_figure, find_figure, find_spread, is_within_noise
from packc.measure.measurement import Latency, Measurement
from packc.spec.optimize import Goal
from packc.tensors import ShapeCase


def measure(p50_ms: float, spread: float | None, size_mib: float = 23.0) -> Measurement:
    """One of a sample a call, whose larger shape is twice as fast a sample and three times as noisy."""
    typical = Latency(ShapeCase("typical", 1, 32), p50_ms, p50_ms, p50_ms, 1e3 / p50_ms, 3, False, (), spread)
    largest = Latency(
        ShapeCase("max", 4, 32), p50_ms, p50_ms, p50_ms, 2e3 / p50_ms, 3, False, (), spread and 3 * spread
    )
    return Measurement((typical, largest), 0.1, 300.0, size_mib, 2, "some CPU", ())


@pytest.mark.parametrize(
    ("goal", "figure", "text", "spread"),
    [
        ("latency", 2.0, "p50 2 ms", 0.1),
        ("throughput", 0.001, "1,000 samples/s", 0.3),
        ("size", 23.0, "23 MiB", 0.0),
        ("cost", 4.0, "4 core-ms a sample", 0.1),
    ],
)
def test_a_figure_its_words_and_its_noise(goal: Goal, figure: float, text: str, spread: float) -> None:
    measurement = measure(2.0, 0.1)
    assert find_figure(measurement, goal) == pytest.approx(figure)
    assert describe_figure(measurement, goal) == text
    assert find_spread(measurement, goal) == pytest.approx(spread)


def test_noise_is_that_of_the_noisier_one() -> None:
    quiet, noisy, far = measure(2.0, 0.0), measure(2.2, 0.15), measure(2.4, 0.15)
    assert is_within_noise(quiet, noisy, "latency")
    assert is_within_noise(noisy, quiet, "latency")
    assert not is_within_noise(quiet, far, "latency")
    assert not is_within_noise(quiet, measure(2.0, 0.5, 23.1), "size")


def test_a_single_round_may_be_far_off() -> None:
    single = measure(2.0, None)
    assert find_spread(single, "latency") is None
    assert find_spread(single, "size") == 0.0
    assert is_within_noise(single, measure(2.49, 0.0), "latency")
    assert not is_within_noise(single, measure(2.51, 0.0), "latency")
