from __future__ import annotations

from dataclasses import replace

import pytest

from packc.measure.measurement import Latency, Measurement
from packc.promises import describe_bound, describe_score, format_figure, format_share, list_promises
from packc.quality.score import QualityScore
from packc.spec.model import BudgetSection, QualitySection
from packc.tensors import ShapeCase

MEASUREMENT = Measurement(
    latencies=(
        Latency(ShapeCase("typical", 1, 32), 2.0, 3.0, 1.0, 500.0, 101, False, tuple(i / 50 for i in range(101))),
        Latency(ShapeCase("max", 16, 256), 20.0, 30.0, 10.0, 800.0, 3, False, (20.0, 20.0, 20.0)),
    ),
    load_s=0.1,
    peak_rss_mib=310.0,
    size_mib=22.7,
    threads=2,
    device="some CPU",
    versions=(),
)


def test_no_bound_is_no_promise() -> None:
    assert list_promises(MEASUREMENT, BudgetSection()) == ()


def test_each_bound_is_about_its_own_figure() -> None:
    budget = BudgetSection(latency_ms=2.0, percentile=90, throughput_per_s=450, size_mib=20, memory_mib=310)
    promises = list_promises(MEASUREMENT, budget)
    assert [(p.key, p.is_kept, p.text) for p in promises] == [
        ("latency_ms", True, "p90 1.8 ms of 2 ms"),
        ("throughput_per_s", True, "500 samples/s of at least 450"),
        ("size_mib", False, "22.7 MiB on disk of 20 MiB"),
        ("memory_mib", True, "peak memory 310 MiB of 310 MiB"),
    ]
    assert promises[2].miss_text == "22.7 MiB on disk of 20 MiB, 13.5 % over"


def test_a_floor_is_missed_from_below() -> None:
    (promise,) = list_promises(MEASUREMENT, BudgetSection(throughput_per_s=1000))
    assert not promise.is_kept
    assert promise.miss_text == "500 samples/s of at least 1,000, 50 % below"


@pytest.mark.parametrize(
    ("metric", "section", "text"),
    [
        ("cosine", QualitySection(), "at least 0.99"),
        ("max_error", QualitySection(min=0.5), "at most 0.5"),
        ("accuracy", QualitySection(), "at most 0.02 worse than the source model"),
    ],
)
def test_bounds_in_words(metric: str, section: QualitySection, text: str) -> None:
    assert describe_bound(metric, section) == text


def test_scores_in_words() -> None:
    score = QualityScore("cosine", 0.93721, 0.9211, 0.99998, 200, 1.0, 0.08)
    assert describe_score(score) == "cosine 0.9372 (95 % interval 0.9211 to 0.99998)"
    accuracy = QualityScore("accuracy", 0.96, 0.93, 0.98, 200, 0.97, 0.02)
    assert describe_score(accuracy) == "accuracy 0.96 (95 % interval 0.93 to 0.98), the source model's 0.97"


def test_figures_keep_three_digits() -> None:
    assert [format_figure(x) for x in (9.812, 0.01234, 24.0, 99.96, 1204.4)] == ["9.81", "0.0123", "24", "100", "1,204"]
    assert [format_share(x) for x in (1.0, 0.999996, 0.9)] == ["1", "0.999996", "0.9"]


def test_memory_on_a_gpu_is_the_gpus() -> None:
    measurement = replace(MEASUREMENT, device_memory_mib=512.0)
    (promise,) = list_promises(measurement, BudgetSection(memory_mib=500.0))
    assert (promise.text, promise.is_kept) == ("GPU memory 512 MiB of 500 MiB", False)


def test_memory_that_nobody_knows_keeps_no_bound() -> None:
    measurement = replace(MEASUREMENT, device_memory_mib=None, peak_rss_mib=None)
    (promise,) = list_promises(measurement, BudgetSection(memory_mib=500.0))
    assert not promise.is_kept
    assert promise.miss_text == "nobody knows what memory it takes of 500 MiB"
