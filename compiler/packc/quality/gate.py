"""The quality gate: does a score keep its bound, judged at the pessimistic end of its interval?"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from packc.quality.bootstrap import Z
from packc.quality.score import QualityScore
from packc.spec.model import ERROR_METRICS, MetricName, QualitySection

SHARES = ("top1_agreement", "accuracy")
"""Metrics whose samples are right or wrong, so that few samples prove little even when all are right."""
ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class Bound:
    """A quality promise: the metric reaches `value` ("min"), or falls at most `value` below the source model's."""

    kind: Literal["min", "max_drop"]
    value: float


@dataclass(frozen=True, slots=True)
class Judgement:
    """Whether a score keeps its bound; all figures on the metric's own scale."""

    kept: bool
    measured: float
    """The pessimistic end of the interval; for `max_drop`, the source model's value less the largest likely drop."""
    bound: float
    margin: float
    """Distance to the bound on the good side; negative when it is missed."""


DEFAULT_BOUNDS: dict[str, Bound] = {
    "cosine": Bound("min", 0.99),
    "spearman": Bound("min", 0.98),
    "neighbour_agreement": Bound("min", 0.90),
    "top1_agreement": Bound("min", 0.95),
    "accuracy": Bound("max_drop", 0.02),
    "max_error": Bound("min", 0.01),
    "mean_error": Bound("min", 0.001),
}
"""Bounds of a spec that sets none. 0.95 for top1_agreement because 73 samples can prove it (0.98 needs 189);
errors are absolute, so theirs fit answers of about unit size."""


def default_bound(metric: MetricName) -> Bound:
    """The promise that is kept when the spec sets none."""
    return DEFAULT_BOUNDS[metric]


def quality_bound(section: QualitySection, metric: str) -> Bound:
    """The spec's promise about `metric`, or the default."""
    if section.min is not None:
        return Bound("min", section.min)
    if section.max_drop is not None:
        return Bound("max_drop", section.max_drop)
    return DEFAULT_BOUNDS[metric]


def judge_score(score: QualityScore, section: QualitySection) -> Judgement:
    """Judges the lower end of the interval (of an error: the upper end) against the spec's bound.

    `max_drop` is judged on the worst drop, whose interval compares candidate and source model on the same samples.
    """
    bound = quality_bound(section, score.metric)
    sign = -1.0 if score.metric in ERROR_METRICS else 1.0
    if bound.kind == "min":
        measured, limit = (score.high if sign < 0 else score.low), bound.value
    else:
        measured, limit = score.reference - sign * score.worst_drop, score.reference - sign * bound.value
    margin = sign * (measured - limit)
    return Judgement(margin >= -ROUNDING, measured, limit, margin)


def measure_headroom(score: QualityScore, section: QualitySection) -> float:
    """The margin of the source model's own answers, were they certain; nothing can have a larger one."""
    bound = quality_bound(section, score.metric)
    sign = -1.0 if score.metric in ERROR_METRICS else 1.0
    return sign * (score.reference - bound.value) if bound.kind == "min" else bound.value


def needed_samples(score: QualityScore, section: QualitySection) -> int | None:
    """Samples that a flawless candidate needs to prove the bound, where this one was flawless and had fewer.

    None when more samples are not what is missing.
    """
    bound, judgement = quality_bound(section, score.metric), judge_score(score, section)
    if judgement.kept or score.metric not in SHARES:
        return None
    needed = math.inf
    if score.metric == "accuracy" and bound.kind == "max_drop":
        if score.value >= score.reference and bound.value > 0:
            needed = math.sqrt(2) * Z / bound.value - 2
    elif score.value == 1.0 and judgement.bound < 1.0:
        needed = Z**2 * judgement.bound / (1 - judgement.bound)
    return math.ceil(needed) if score.samples < needed < math.inf else None
