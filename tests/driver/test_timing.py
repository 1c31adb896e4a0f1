"""Short and long timings, and which of their figures are kept."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import pytest

from driver_world import Way, World
from packc.driver import evaluate, timing
from packc.driver.evaluate import check_candidate
from packc.driver.timing import time_long, time_shortly
from packc.measure.measurement import Measurement


def test_a_short_timing_leaves_the_measurement_rough(world: World) -> None:
    trial = world.make_trial()
    checked = [check_candidate(candidate, trial) for candidate in world.candidates()]
    (short,) = time_shortly(checked, trial)
    (long,) = time_long(checked, trial)
    assert short.measurement is not None
    assert long.measurement is not None
    assert (short.is_rough, long.is_rough) == (True, False)
    assert [latency.case.name for latency in short.measurement.latencies] == ["typical"]
    assert [latency.case.name for latency in long.measurement.latencies] == ["typical", "max"]
    assert world.timings == [["base"], ["base"]]


def test_throughput_is_a_matter_of_all_shapes(world: World) -> None:
    trial = world.make_trial('[optimize]\ngoal = "throughput"')
    (short,) = time_shortly([check_candidate(world.candidates()[0], trial)], trial)
    assert short.measurement is not None
    assert [latency.case.name for latency in short.measurement.latencies] == ["typical", "max"]


def test_a_timing_in_which_one_failed_is_not_kept(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluate, "JOB_TIMEOUT_S", 2.0)
    monkeypatch.setattr(timing, "JOB_TIMEOUT_S", 2.0)
    world.ways["stuck"] = Way(fault="hang when timed")
    outcomes = world.search()
    assert outcomes["stuck"].failure == "no result within 2 s"
    assert outcomes["base"].failure is None
    assert {entry.kind for entry in world.cache.entries()} == {"check", "latency"}


def test_noisy_figures_are_used_but_not_kept(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("packc.measure.rounds.spread_of_rounds", lambda _: 0.5)
    for _ in range(2):
        measurement = world.search()["base"].measurement
        assert measurement is not None
        assert measurement.latencies[0].noisy
    assert (world.checks, world.timings) == (["base"], [["base"]] * 2)


def test_noise_at_any_shape_counts(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where throughput is the goal, the largest shape decides."""
    measure = timing.measure_bundles

    def disturb(*args: Any, **options: Any) -> Any:
        found = {name: cast("Measurement", result) for name, result in measure(*args, **options).items()}
        return {
            name: replace(result, latencies=(*result.latencies[:-1], replace(result.latencies[-1], noisy=True)))
            for name, result in found.items()
        }

    monkeypatch.setattr(timing, "measure_bundles", disturb)
    for _ in range(2):
        measurement = world.search()["base"].measurement
        assert measurement is not None
        assert [latency.noisy for latency in measurement.latencies] == [False, True]
    assert world.timings == [["base"]] * 2


def test_a_single_round_is_timed_anew_each_time(world: World) -> None:
    """It cannot disagree with itself, so a disturbed one would pass for quiet in every later build."""
    trial = world.make_trial()
    checked = [check_candidate(world.candidates()[0], trial)]
    for _ in range(2):
        time_shortly(checked, trial)
    assert world.timings == [["base"], ["base"]]


def test_what_others_disturbed_on_a_shared_gpu_is_used_and_not_kept(world: World) -> None:
    for _ in range(2):
        assert world.search(is_shared=True)["base"].measurement is not None
    assert (world.checks, world.timings) == (["base"] * 2, [["base"]] * 2)
    world.search()
    world.search()
    assert (world.checks, world.timings) == (["base"] * 3, [["base"]] * 3), "and once it is free, all is kept"
