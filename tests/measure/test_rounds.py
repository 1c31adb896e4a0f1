from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from packc.jobs.job import CaseTimes, JobResult
from packc.measure import rounds
from packc.measure.measurement import Measurement
from packc.measure.rounds import measure_bundles, summarize_runs
from stub_bundle import DOUBLING, LARGEST, TYPICAL, stub_bundle, stub_job

OK = JobResult("ok", None, 0.5, 100.0, (), None, "some CPU", (("python", "3.12"),))


def result(typical: list[float], largest: list[float], load_s: float = 0.5, peak_mib: float = 100.0) -> JobResult:
    times = (CaseTimes("typical", tuple(typical)), CaseTimes("max", tuple(largest)))
    return replace(OK, load_s=load_s, peak_rss_mib=peak_mib, times=times)


def test_times_are_pooled_and_the_rest_summarized(tmp_path: Path) -> None:
    bundle = stub_bundle(tmp_path, job=stub_job(cases=(TYPICAL, LARGEST)))
    measurement = summarize_runs(
        bundle, [result([1.0, 2.0], [10.0], 0.1, 50.0), result([3.0], [10.0], 0.3, 70.0), result([2.0], [10.0], 0.2)]
    )
    typical, largest = measurement.latencies
    assert typical.times_ms == (1.0, 2.0, 3.0, 2.0)
    assert (typical.p50_ms, typical.min_ms, typical.samples) == (2.0, 1.0, 4)
    assert typical.throughput_per_s == pytest.approx(1 * 4 / 0.008)
    assert largest.throughput_per_s == pytest.approx(2 * 3 / 0.030)
    assert typical.noisy, "medians 1.5, 3 and 2"
    assert not largest.noisy
    assert (measurement.load_s, measurement.peak_rss_mib) == (0.2, 100.0)
    assert measurement.size_mib == pytest.approx(3 / 2**20)
    assert (measurement.threads, measurement.device) == (1, "some CPU")


def test_of_a_single_round_nobody_knows_how_far_others_differ(tmp_path: Path) -> None:
    bundle = stub_bundle(tmp_path, job=stub_job(cases=(TYPICAL, LARGEST)))
    (single, _), (several, _) = (summarize_runs(bundle, [result([1.0], [10.0])] * count).latencies for count in (1, 2))
    assert (single.spread, single.noisy) == (None, False)
    assert several.spread == 0.0


def test_memory_of_a_gpu_is_the_most_of_all_rounds(tmp_path: Path) -> None:
    bundle = stub_bundle(tmp_path, job=stub_job(cases=(TYPICAL, LARGEST)))
    runs = [replace(result([1.0], [2.0]), device_memory_mib=mib) for mib in (300.0, None, 400.0)]
    assert summarize_runs(bundle, runs).device_memory_mib == 400.0
    assert summarize_runs(bundle, runs[1:2]).device_memory_mib is None


def test_candidates_take_turns_and_a_failed_one_stops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundles = {name: stub_bundle(tmp_path / name, job=stub_job(cases=(TYPICAL,))) for name in ("a", "b")}
    turns: list[str] = []

    def run(folder: Path, *_: object) -> JobResult:
        name = folder.parent.name
        turns.append(name)
        if name == "b" and turns.count("b") == 2:
            return replace(OK, status="killed", failure="killed by SIGSEGV")
        return replace(OK, times=(CaseTimes("typical", (float(len(turns)),)),))

    monkeypatch.setattr(rounds, "run_bundle", run)
    outcome = measure_bundles(bundles, rounds=3, timeout_s=1)
    assert turns == ["a", "b", "a", "b", "a"]
    assert list(outcome) == ["a", "b"]
    assert isinstance(outcome["a"], Measurement)
    assert outcome["a"].latencies[0].times_ms == (1.0, 3.0, 5.0)
    assert isinstance(outcome["b"], JobResult)
    assert outcome["b"].failure == "killed by SIGSEGV"


def test_each_runs_in_its_own_interpreter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundles = {name: stub_bundle(tmp_path / name, job=stub_job(cases=(TYPICAL,))) for name in ("a", "b")}
    used: list[object] = []

    def run(folder: Path, timeout_s: float, python: Path | None, memory_limit_mib: float | None) -> JobResult:
        used.append(python)
        return replace(OK, times=(CaseTimes("typical", (1.0,)),))

    monkeypatch.setattr(rounds, "run_bundle", run)
    measure_bundles(bundles, rounds=1, timeout_s=1, pythons={"b": Path("other")})
    assert used == [None, Path("other")]


def test_real_processes_side_by_side(tmp_path: Path) -> None:
    slow = "import time\n" + DOUBLING.replace("    return {", "    time.sleep(0.004)\n    return {", 1)
    bundles = {
        "quick": stub_bundle(tmp_path / "quick", job=stub_job(cases=(TYPICAL,))),
        "slow": stub_bundle(tmp_path / "slow", slow, stub_job(cases=(TYPICAL,))),
        "broken": stub_bundle(tmp_path / "broken", "import os; os.abort()", stub_job(cases=(TYPICAL,))),
    }
    outcome = measure_bundles(bundles, rounds=2, timeout_s=60)
    quick, slow_one, broken = outcome["quick"], outcome["slow"], outcome["broken"]
    assert isinstance(quick, Measurement)
    assert isinstance(slow_one, Measurement)
    assert isinstance(broken, JobResult)
    assert quick.latencies[0].p50_ms < 4 < slow_one.latencies[0].p50_ms
    assert slow_one.latencies[0].samples >= 8
    assert broken.status == "killed"
