from __future__ import annotations

from dataclasses import replace

import pytest

from driver_world import Way, World
from packc.driver import curves
from packc.driver.curves import find_curve
from packc.measure.curve import ServiceCurve
from packc.serving.choices import Split
from packc.tensors import ShapeCase


def test_a_curve_is_measured_once_and_kept(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(curves, "is_disturbed", lambda _: False)
    world.ways["base"] = Way(ms=3.0)
    outcome, trial = world.search()["base"], world.make_trial()
    curve = find_curve(outcome, Split(2, 1), (1, 4), (0,), trial)
    assert isinstance(curve, ServiceCurve)
    assert (curve.copies, curve.threads) == (2, 1)
    assert [(point.batch, len(point.times_ms)) for point in curve.points] == [(1, 6), (4, 6)]
    assert all(point.p50_ms >= 3.0 for point in curve.points)
    monkeypatch.setattr(curves, "measure_curve", None)
    with caplog.at_level("INFO"):
        assert find_curve(outcome, Split(2, 1), (1, 4), (0,), trial) == curve
    assert caplog.messages == ["base: curve on 2 x 1 threads measured before"]


def test_a_disturbed_curve_is_used_but_not_kept(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    outcome, trial = world.search()["base"], world.make_trial()
    monkeypatch.setattr(curves, "is_disturbed", lambda _: True)
    first, second = (find_curve(outcome, Split(1, 1), (1, 4), (0,), trial) for _ in range(2))
    assert isinstance(first, ServiceCurve)
    assert isinstance(second, ServiceCurve)
    assert first != second, "it was measured again"


def test_a_curve_of_a_shared_gpu_is_not_kept(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(curves, "is_disturbed", lambda _: False)
    outcome, trial = world.search()["base"], world.make_trial(is_shared=True)
    first, second = (find_curve(outcome, Split(1, 1), (1, 4), (0,), trial) for _ in range(2))
    assert first != second, "it was measured again"


def test_without_a_curve_the_search_goes_on(world: World) -> None:
    world.ways["base"] = Way()
    outcome, trial = world.search()["base"], world.make_trial()
    world.ways["base"] = Way(fault="raise")
    assert find_curve(outcome, Split(1, 2), (1,), (0,), trial) is None


def test_batches_that_alone_break_the_budget_are_left_out(world: World) -> None:
    world.ways["base"] = Way()
    outcome = world.search()["base"]
    assert outcome.measurement is not None
    slow = replace(outcome.measurement.latencies[0], case=ShapeCase("typical", 1, None), p50_ms=10.0)
    outcome = replace(outcome, measurement=replace(outcome.measurement, latencies=(slow,)))
    assert curves._limit_batches(outcome, (1, 2, 4, 8, 16), 20.0) == [1, 2, 4]
    assert curves._limit_batches(outcome, (1, 2, 4), 1.0) == [1, 2]
    assert curves._limit_batches(outcome, (1, 2, 4), 0.0) == (1, 2, 4)
