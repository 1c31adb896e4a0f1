from __future__ import annotations

import pytest

from packc.measure.statistics import needed_calls, percentile_ms, relative_spread, spread_of_rounds


def test_percentiles_interpolate() -> None:
    times_ms = [float(i) for i in range(1, 102)]
    assert percentile_ms(times_ms, 50) == 51.0
    assert percentile_ms(times_ms, 99) == 100.0
    assert percentile_ms([1.0, 2.0], 50) == 1.5


def test_spread_is_relative_to_the_middle() -> None:
    assert relative_spread([1.0, 1.1, 1.05]) == pytest.approx(0.1 / 1.05)
    assert relative_spread([3.0]) == 0.0


def test_noise_is_between_rounds_not_within_them() -> None:
    assert spread_of_rounds([[1.0, 1.0, 9.0], [1.0, 1.0, 8.0], [1.05, 1.05, 1.0]]) == pytest.approx(0.05)
    assert spread_of_rounds([[1.0, 1.0, 1.0], [1.0, 1.0, 1.0], [1.2, 1.2, 1.0]]) == pytest.approx(0.2)
    assert spread_of_rounds([[1.0, 5.0]]) is None


@pytest.mark.parametrize(("percentile", "calls"), [(99, 100), (99.9, 1000), (95, 20), (50, 20)])
def test_a_percentile_needs_calls_beyond_it(percentile: float, calls: int) -> None:
    assert needed_calls(percentile) == calls
