"""Where things stand in the plot of latency against quality: its points, scales, and the strips beside the scales.

Two strips have no scale: the gutter on the right holds candidates that were not timed, the pit at the bottom those
whose quality is so far below the bound that an axis that reached them would squeeze the others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from packc.package.manifest import Manifest, QualityRecord
from packc.report.labels import Box
from packc.report.svg import Scale, fit_scale
from packc.report.view import Row, find_served, is_error_metric

GUTTER = 64.0
PIT = 34.0
_LEFT, _TOP, _RIGHT, _BOTTOM = 52.0, 34.0, 12.0, 48.0


@dataclass(frozen=True, slots=True)
class Point:
    """A marker: latency None means that quality is known and latency was not measured."""

    label: str
    key: str
    latency_ms: float | None
    quality: QualityRecord
    mark: str
    """A standing, or "served"."""
    title: str


@dataclass(frozen=True, slots=True)
class Canvas:
    """The scales of one plot of `width` pixels, and the frame that they span."""

    x: Scale
    y: Scale
    frame: Box
    width: float
    gutter_x: float | None
    """Where candidates without a latency stand; None when there are none."""
    pit_y: float | None
    """Where candidates stand whose quality is far below the bound; None when there are none."""
    lowest: float
    """Quality below this is in the pit."""


def collect_points(manifest: Manifest, rows: Sequence[Row]) -> list[Point]:
    """The candidates whose quality is known, and the one that was served a second time, as it was then."""
    points = [
        Point(
            row.label,
            row.key,
            m.p50_ms if manifest.promises.percentile <= 50 else m.p99_ms,
            m.quality,
            row.standing,
            f"{row.record.id}: {row.words}",
        )
        for row in rows
        if (m := row.record.measurements) and m.quality is not None
    ]
    served, record = manifest.served, find_served(manifest)
    if served and record and record.measurements:
        quality = served.quality or record.measurements.quality
        if quality:
            points.insert(1, Point("served", "served", served.latency_ms, quality, "served", f"{record.id}, served"))
    return points


def lay_out(manifest: Manifest, points: Sequence[Point], width: float, height: float) -> Canvas:
    """Scales that hold all points that were timed, their intervals and the bounds."""
    bounds = manifest.promises
    lowest = _find_lowest(manifest, points)
    has_gutter = any(point.latency_ms is None for point in points)
    has_pit = any(point.quality.value < lowest for point in points)
    right = width - _RIGHT - (GUTTER if has_gutter else 0.0)
    floor = height - _BOTTOM - (PIT if has_pit else 0.0)
    latencies = [point.latency_ms for point in points if point.latency_ms is not None]
    x = fit_scale([*latencies, *([bounds.latency_ms] if bounds.latency_ms else [])], _LEFT, right, margin=0.08)
    if not x.is_log:
        x = Scale(0.0, x.high, _LEFT, right)
    shown = [point.quality for point in points if point.quality.value >= lowest]
    qualities = [max(v, lowest) for q in shown for v in (q.low, q.value, q.high)]
    y_values = [*qualities, *([bounds.quality_min] if bounds.quality_min is not None else [])]
    y = fit_scale(y_values, floor, _TOP, margin=0.07, log=is_error_metric(bounds.quality_metric))
    frame = Box(_LEFT, _TOP, right - _LEFT, floor - _TOP)
    gutter_x = right + 6 + (width - right - 6) / 2 if has_gutter else None
    return Canvas(x, y, frame, width, gutter_x, floor + PIT / 2 if has_pit else None, lowest)


def _find_lowest(manifest: Manifest, points: Sequence[Point]) -> float:
    """Where the quality axis ends: four spans of the bound below the best, so that a ruined candidate squeezes none."""
    bound = manifest.promises.quality_min
    if bound is None or is_error_metric(manifest.promises.quality_metric):
        return float("-inf")
    top = max(*(point.quality.value for point in points), bound)
    return top - 4 * max(top - bound, 0.01)


def marker_boxes(point: Point, canvas: Canvas) -> tuple[Box, Box]:
    """What the point's marker and its interval cover."""
    x, y = locate(point, canvas)
    high, low = locate_interval(point, canvas)
    return Box(x - 7, y - 7, 14, 14), Box(x - 4, min(high, low), 8, max(abs(high - low), 1))


def locate(point: Point, canvas: Canvas) -> tuple[float, float]:
    """x and y of the point's marker."""
    x = canvas.x(point.latency_ms) if point.latency_ms is not None else canvas.gutter_x
    y = canvas.y(point.quality.value) if point.quality.value >= canvas.lowest else canvas.pit_y
    return x or 0.0, y or 0.0


def locate_interval(point: Point, canvas: Canvas) -> tuple[float, float]:
    """y of the interval's upper and lower end; no length in the pit, which has no scale."""
    if point.quality.value < canvas.lowest:
        y = locate(point, canvas)[1]
        return y, y
    return canvas.y(point.quality.high), canvas.y(max(point.quality.low, canvas.lowest))
