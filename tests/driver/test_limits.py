"""The physical limit of a target, found and recorded."""

from __future__ import annotations

from dataclasses import replace

import pytest

from driver_world import World
from packc.driver import limits
from packc.driver.limits import find_roofline, record_limits
from packc.errors import PackError
from packc.host import probe_host
from packc.measure.peak import GemmRate, Peaks, ReadRate
from packc.package.insight import PeakRecord
from packc.target_profiles import find_target

PEAKS = Peaks((GemmRate("fp32", 200.0, "numpy"),), (ReadRate(4.0, 50.0),), 2, "measured here")


@pytest.fixture(autouse=True)
def peaks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "measure_peaks", lambda *_: PEAKS)


def test_here_the_peaks_are_measured_and_elsewhere_the_profiles(world: World) -> None:
    trial = world.make_trial()
    here = find_roofline(trial, probe_host())
    assert here is not None
    assert here.peaks == PEAKS
    assert [work.flops for work in here.work] == [2.0 * 8 * 4 * case.batch for case in trial.cases]
    there = find_roofline(trial, find_target("cpu-amd-genoa", world.folder))
    assert there is not None
    assert there.peaks.source == "of the profile cpu-amd-genoa"


def test_a_limit_that_cannot_be_found_is_a_warning(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise PackError("its shapes cannot be told")

    monkeypatch.setattr(limits, "count_work", fail)
    assert find_roofline(world.make_trial(), probe_host()) is None
    assert "the physical limit is not known: its shapes cannot be told" in caplog.text


def test_only_long_timings_are_compared_with_the_limit(world: World) -> None:
    (outcome,) = world.search().values()
    roofline = find_roofline(world.make_trial(), probe_host())
    assert roofline is not None
    assert outcome.measurement is not None
    record = record_limits(roofline, [outcome, replace(outcome, is_rough=True), replace(outcome, measurement=None)])
    (limit,) = record.candidates
    assert limit.candidate == "base"
    assert limit.share == limit.floor_ms / outcome.measurement.latencies[0].p50_ms
    assert (record.source, record.threads, record.gflop) == ("measured here", 2, 64e-9)
    assert record.peaks == (PeakRecord("fp32", 200.0, "numpy"),)
