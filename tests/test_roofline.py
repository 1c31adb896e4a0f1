"""Floors from work and peaks."""

from __future__ import annotations

from dataclasses import replace

import pytest

from packc.candidate import Candidate, PassStep
from packc.measure.peak import GemmRate, Peaks, ReadRate
from packc.measure.work import Work
from packc.roofline import Floor, Roofline, find_floor, find_products, read_profile
from packc.tensors import Precision, ShapeCase
from sources import device

PEAKS = Peaks(
    (GemmRate("fp32", 200.0, "numpy"), GemmRate("int8", 500.0, "onnxruntime")),
    (ReadRate(4.0, 100.0), ReadRate(64.0, 40.0), ReadRate(256.0, 20.0)),
    2,
    "measured here",
)
HEAVY = Work(flops=1e9, weights=1e6)
WIDE = Work(flops=1e6, weights=20e6)
LINEAR = Candidate("c", "stub", "int8", (PassStep("quantize_dynamic"),))


def test_the_longer_of_computing_and_reading_bounds() -> None:
    assert find_floor(HEAVY, "fp32", PEAKS, weights="fp32") == Floor(5.0, "compute", 200.0, "fp32")
    assert find_floor(HEAVY, "int8", PEAKS, weights="int8") == Floor(2.0, "compute", 500.0, "int8")
    floor = find_floor(WIDE, "fp32", PEAKS, weights="fp32")
    assert floor == Floor(2.0, "memory", 40.0, "fp32"), "80 MB, read as fast as a buffer of 64 MiB"
    assert find_floor(WIDE, "int8", PEAKS, weights="int8") == Floor(0.2, "memory", 100.0, "int8"), (
        "20 MB are more than 4 MiB"
    )


def test_how_fast_weights_below_the_smallest_buffer_are_read_is_not_known() -> None:
    floor = find_floor(Work(0.0, 1e5), "fp32", PEAKS, weights="fp32")
    assert floor is not None
    assert floor.bound == "compute"


def test_a_candidate_may_use_fp32_where_that_is_faster() -> None:
    slow = replace(PEAKS, gemm=(GemmRate("fp32", 200.0, ""), GemmRate("int8", 100.0, "")))
    assert find_floor(HEAVY, "int8", slow, weights="int8") == Floor(5.0, "compute", 200.0, "fp32")


@pytest.mark.parametrize(
    ("candidate", "products"),
    [
        (Candidate("c", "stub", "int4", (PassStep("quantize_weights", {"bits": 4}),)), "int8"),
        (Candidate("c", "stub", "int8", (), PassStep("stub", {"quantize": "weights", "precision": "bf16"})), "bf16"),
        (Candidate("c", "stub", "int8", (), PassStep("stub", {"quantize": "full", "precision": "bf16"})), "int8"),
        (LINEAR, "int8"),
    ],
)
def test_weights_alone_in_fewer_bits_leave_the_products_as_they_are(candidate: Candidate, products: str) -> None:
    assert find_products(candidate) == products


def test_weights_in_4_bits_are_read_sooner_and_multiplied_in_8() -> None:
    roofline = Roofline((ShapeCase("typical", 1, None),) * 2, (HEAVY, Work(1e6, 80e6)), PEAKS)
    floors = roofline.find_floors(Candidate("c", "stub", "int4", (PassStep("quantize_weights", {"bits": 4}),)))
    assert floors == (Floor(2.0, "compute", 500.0, "int8"), Floor(0.4, "memory", 100.0, "int4"))


@pytest.mark.parametrize("precision", ["bf16", "fp8"])
def test_an_unknown_rate_leaves_the_floor_unknown(precision: Precision) -> None:
    assert find_floor(HEAVY, precision, PEAKS, weights=precision) is None
    roofline = Roofline((ShapeCase("typical", 1, None),), (HEAVY,), PEAKS)
    assert roofline.find_floors(replace(LINEAR, precision=precision)) is None
    assert roofline.estimate_ms(replace(LINEAR, precision=precision)) == float("inf")


def test_floors_are_of_every_case_and_of_graphs_that_do_the_models_work() -> None:
    cases = (ShapeCase("typical", 1, None), ShapeCase("max", 4, None))
    roofline = Roofline(cases, (HEAVY, Work(4e9, 1e6)), PEAKS)
    floors = roofline.find_floors(LINEAR)
    assert floors is not None
    assert [floor.ms for floor in floors] == [2.0, 8.0]
    assert roofline.estimate_ms(LINEAR) == 2.0
    assert roofline.find_floors(replace(LINEAR, passes=(PassStep("prune_structure"),))) is None


def test_a_profile_has_peaks_as_far_as_it_states_them() -> None:
    plain = read_profile(device())
    assert (plain.gemm, plain.reads, plain.source) == ((), (), "of the profile box")
    stated = replace(device(), dense_peak_tflops={"int8": 2.0}, bandwidth_gb_s=300.0, cache_mib=8.0)
    peaks = read_profile(stated)
    assert peaks.gemm == (GemmRate("int8", 2000.0, ""),)
    assert find_floor(WIDE, "int8", peaks, weights="int8") == Floor(20e6 / 300 / 1e6, "memory", 300.0, "int8")


def test_memory_bounds_nothing_where_the_size_of_the_cache_is_not_known() -> None:
    """All weights may lie in it, and be read faster."""
    peaks = read_profile(replace(device(), dense_peak_tflops={"int8": 2.0}, bandwidth_gb_s=300.0))
    floor = find_floor(WIDE, "int8", peaks, weights="int8")
    assert floor == Floor(WIDE.flops / 2000 / 1e6, "compute", 2000.0, "int8")


def test_what_fits_into_a_gpus_cache_may_be_read_faster_than_memory() -> None:
    stated = replace(device(), dense_peak_tflops={"int8": 2.0}, bandwidth_gb_s=300.0, profile="card", cache_mib=50.0)
    peaks = read_profile(stated)
    assert peaks.source == "of the profile card"
    floor = find_floor(WIDE, "int8", peaks, weights="int8")
    assert floor is not None
    assert floor.bound == "compute"
    large = find_floor(replace(WIDE, weights=200e6), "int8", peaks, weights="int8")
    assert large is not None
    assert (large.bound, large.rate) == ("memory", 300.0)
