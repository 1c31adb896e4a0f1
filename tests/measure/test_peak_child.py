from __future__ import annotations

import time

import pytest

from packc.measure import peak_child
from packc.measure.peak_child import find_best_s, find_peaks


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peak_child, "SIZES", ((32, 64, 64),))
    monkeypatch.setattr(peak_child, "READ_MIB", (1, 2))
    monkeypatch.setattr(peak_child, "SECONDS", 0.001)


def test_the_best_library_of_each_precision_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def nap(seconds: float) -> peak_child.Maker:
        return lambda *_: lambda: time.sleep(seconds)

    monkeypatch.setitem(peak_child.MAKERS, "int8", (("slow", nap(0.02)), ("fast", nap(0.001)), ("idle", nap(0.01))))
    peaks = find_peaks(["fp32", "int8"], 1)
    assert [rate["precision"] for rate in peaks["gemm"]] == ["fp32", "int8"]
    assert peaks["gemm"][1]["library"] == "fast"
    assert all(rate["gflop_per_s"] > 0 for rate in peaks["gemm"])
    assert [read["mib"] for read in peaks["reads"]] == [1.0, 2.0]
    assert (peaks["threads"], peaks["source"]) == (1, "measured here")


@pytest.mark.parametrize(
    ("library", "make"), [(library, make) for makers in peak_child.MAKERS.values() for library, make in makers]
)
def test_every_product_can_be_made(library: str, make: peak_child.Maker) -> None:
    pytest.importorskip(library)
    try:
        call = make(4, 8, 16, 1)
    except RuntimeError as error:
        pytest.skip(f"not on this CPU: {error}")
    call()


def test_what_no_library_can_do_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: int) -> peak_child.Call:
        raise ImportError("not installed")

    monkeypatch.setitem(peak_child.MAKERS, "bf16", (("openvino", fail),))
    assert find_peaks(["bf16", "fp8"], 1)["gemm"] == []


def test_the_shortest_call_counts() -> None:
    naps = iter([0.0, 0.02, 0.001, 0.02])
    assert 0.001 <= find_best_s(lambda: time.sleep(next(naps)), seconds=0.0) < 0.015


@pytest.mark.parametrize(("passes", "steady"), [((100.0, 95.0), True), ((100.0, 60.0), False)])
def test_passes_that_differ_are_told(monkeypatch: pytest.MonkeyPatch, passes: tuple[float, ...], steady: bool) -> None:
    rates = iter(passes)
    monkeypatch.setattr(peak_child, "find_rates", lambda *_: [("numpy", next(rates))])
    monkeypatch.setattr(peak_child, "find_reads", lambda: [(4.0, 50.0)])
    peaks = find_peaks(["fp32"], 1)
    assert peaks["is_steady"] is steady
    assert peaks["gemm"][0]["gflop_per_s"] == 100.0
