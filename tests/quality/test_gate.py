from __future__ import annotations

from typing import get_args

import pytest

from packc.quality.gate import Bound, default_bound, judge_score, measure_headroom, needed_samples, quality_bound
from packc.quality.score import QualityScore
from packc.spec.model import MetricName, QualitySection


def agreement(low: float, metric: str = "neighbour_agreement", samples: int = 200) -> QualityScore:
    return QualityScore(metric, low + 0.01, low, low + 0.02, samples, 1.0, 1.0 - low)


def accuracy(value: float, reference: float, worst_drop: float, samples: int = 360) -> QualityScore:
    return QualityScore("accuracy", value, value - 0.03, value + 0.03, samples, reference, worst_drop)


def error(high: float) -> QualityScore:
    return QualityScore("max_error", high - 0.001, high - 0.002, high, 200, 0.0, high)


@pytest.mark.parametrize(
    ("score", "section", "kept", "measured", "bound"),
    [
        (agreement(0.905), QualitySection(min=0.90), True, 0.905, 0.90),
        (agreement(0.895), QualitySection(min=0.90), False, 0.895, 0.90),  # its value, 0.905, is above
        (agreement(0.90), QualitySection(min=0.90), True, 0.90, 0.90),
        (agreement(0.97), QualitySection(max_drop=0.02), False, 0.97, 0.98),
        (agreement(0.905), QualitySection(), True, 0.905, 0.90),
        (error(0.009), QualitySection(), True, 0.009, 0.01),
        (error(0.011), QualitySection(min=0.01), False, 0.011, 0.01),
        (error(0.011), QualitySection(max_drop=0.02), True, 0.011, 0.02),
        # the drop is judged on the same samples: the accuracy's own wide interval does not matter
        (accuracy(0.96, 0.97, 0.018), QualitySection(), True, 0.952, 0.95),
        (accuracy(0.96, 0.97, 0.022), QualitySection(max_drop=0.02), False, 0.948, 0.95),
        (accuracy(0.96, 0.97, 0.018), QualitySection(min=0.95), False, 0.93, 0.95),
    ],
)
def test_the_pessimistic_end_is_judged(
    score: QualityScore, section: QualitySection, kept: bool, measured: float, bound: float
) -> None:
    judgement = judge_score(score, section)
    assert judgement.kept is kept
    assert judgement.measured == pytest.approx(measured)
    assert judgement.bound == pytest.approx(bound)
    assert (judgement.margin >= -1e-9) is kept


def test_every_metric_has_a_default() -> None:
    for metric in get_args(MetricName):
        assert quality_bound(QualitySection(), metric) == default_bound(metric)
    assert default_bound("accuracy") == Bound("max_drop", 0.02)


def test_it_says_how_many_samples_a_bound_needs() -> None:
    flawless = QualityScore("top1_agreement", 1.0, 0.963, 1.0, 100, 1.0, 0.037)
    assert needed_samples(flawless, QualitySection(min=0.98)) == 189
    assert needed_samples(flawless, QualitySection(max_drop=0.02)) == 189
    assert needed_samples(flawless, QualitySection(min=0.95)) is None, "it kept that bound"
    assert needed_samples(flawless, QualitySection(min=1.0)) is None, "no number of samples proves it"
    assert needed_samples(accuracy(0.97, 0.97, 0.05, 50), QualitySection()) == 137
    assert needed_samples(accuracy(0.90, 0.97, 0.1, 50), QualitySection()) is None
    assert needed_samples(agreement(0.8), QualitySection(min=0.9)) is None


def test_headroom_is_the_margin_of_certain_source_answers() -> None:
    score = QualityScore("neighbour_agreement", 0.91, 0.90, 0.92, 200, 1.0, 0.1)
    assert measure_headroom(score, QualitySection(min=0.95)) == pytest.approx(0.05)
    assert measure_headroom(score, QualitySection(max_drop=0.02)) == 0.02
    error = QualityScore("max_error", 0.5, 0.4, 0.6, 200, 0.0, 0.6)
    assert measure_headroom(error, QualitySection(min=0.1)) == pytest.approx(0.1)
