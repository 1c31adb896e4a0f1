from __future__ import annotations

from packc.measure.measurement import Latency
from packc.tensors import ShapeCase


def test_any_percentile_comes_from_the_calls_themselves() -> None:
    times_ms = tuple(float(i) for i in range(101))
    latency = Latency(ShapeCase("typical", 1, 8), 50.0, 99.0, 0.0, 20.0, 101, False, times_ms)
    assert latency.percentile_ms(90) == 90.0
    assert latency.percentile_ms(50) == latency.p50_ms
