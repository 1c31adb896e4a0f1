"""What the GPU benchmark says below its tables, of made-up times."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from packc.measure.peak import GemmRate, Peaks, ReadRate
from packc.measure.work import Work
from packc.tensors import Precision

sys.path.append(str(Path(__file__).resolve().parents[1] / "benchmarks"))

from support.gpu_rows import Failure, Row
from support.gpu_table import show_table

WORK = Work(flops=1e9, weights=1e6)
PEAKS = Peaks((GemmRate("fp16", 1_000_000, 1),), (ReadRate(1 << 30, 4800),), 1, "of the profile x")


def row(
    name: str,
    ms: float,
    *,
    is_pack: bool = False,
    is_trick: bool = False,
    error: float = 0.0,
    precision: Precision = "fp16",
) -> Row:
    made = Row(name, is_pack, precision, lambda: None, lambda: None, error, is_trick=is_trick)
    made.call_times_ms, made.work_times_ms = [2 * ms], [ms]
    return made


@pytest.fixture
def table() -> str:
    rows = [
        row("exported", 2.0),
        row("compile reduce-overhead", 0.8),
        row("eager", 4.0),
        row("ours around compile", 0.4, is_trick=True),
        row("pack-right", 0.5, is_pack=True),
        row("pack-wrong", 0.1, is_pack=True, error=0.5),
        Failure("pack-failed", "no kernel"),
    ]
    return show_table("batch 1", rows, "exported", "compile", WORK, PEAKS)


def test_the_best_right_candidate_is_held_against_the_best_of_others(table: str) -> None:
    assert "Resident: pack's fastest is pack-right, 0.500 ms; 1.60 x as fast as the best peer (compile" in table
    assert "; 1.60 x as fast as compile; 0.80 x as fast as ours around compile; " in table


def test_another_precision_than_that_of_peers_is_told_beside_theirs() -> None:
    rows = [
        row("compile", 0.9),
        row("pack-bf16", 0.5, is_pack=True, precision="bf16"),
        row("pack-fp16", 0.6, is_pack=True),
    ]
    table = show_table("batch 1", rows, "exported", "compile", WORK, PEAKS)
    assert "pack's fastest is pack-bf16, 0.500 ms; 1.80 x as fast as the best peer (compile, 0.900 ms); " in table
    assert "; in fp16, pack-fp16, 0.600 ms, 1.50 x; " in table


def test_ratios_are_against_the_named_row_and_failures_have_one(table: str) -> None:
    assert "| eager | 8.000 (0.50) | 4.000 (0.50) | 0% | 0.0e+00 |" in table
    assert "| pack-failed | failed: no kernel | | | |" in table


def test_the_floor_is_a_share_of_the_time(table: str) -> None:
    assert "the floor, 0.001 ms (estimated: 1000000 GFLOP/s fp16 of the profile x), is 0.00 of it." in table
