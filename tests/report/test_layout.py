from __future__ import annotations

from dataclasses import replace

from manifests import make_crowded_manifest, make_error_manifest, make_kept_manifest
from packc.package.manifest import Manifest
from packc.report.layout import Canvas, Point, collect_points, lay_out, locate, locate_interval, marker_boxes
from packc.report.view import make_rows


def make_plot(manifest: Manifest) -> tuple[dict[str, Point], Canvas]:
    points = collect_points(manifest, make_rows(manifest))
    return {point.label: point for point in points}, lay_out(manifest, points, 940, 420)


def test_points_are_the_candidates_with_a_quality_and_the_served_one() -> None:
    points, _ = make_plot(make_kept_manifest())
    assert list(points) == [
        "int8-dynamic-skip-ffn-down",
        "served",
        "fp32-plain",
        "fp32-fused",
        "int8-static-skip-ffn-down",
        "int8-dynamic",
        "int8-static",
    ]
    assert points["served"].latency_ms == 9.83
    assert points["fp32-plain"].latency_ms == 5.61
    assert points["int8-dynamic"].latency_ms is None


def test_a_budget_on_the_median_plots_the_median() -> None:
    manifest = make_kept_manifest()
    points, _ = make_plot(replace(manifest, promises=replace(manifest.promises, percentile=50.0)))
    assert points["fp32-plain"].latency_ms == 4.83


def test_faster_is_left_and_better_is_up() -> None:
    points, canvas = make_plot(make_kept_manifest())
    chosen, plain = (locate(points[name], canvas) for name in ("int8-dynamic-skip-ffn-down", "fp32-plain"))
    assert chosen[0] < plain[0]
    assert chosen[1] > plain[1]


def test_what_was_not_timed_stands_in_the_gutter_and_what_is_ruined_in_the_pit() -> None:
    points, canvas = make_plot(make_kept_manifest())
    frame = canvas.frame
    x, y = locate(points["int8-static"], canvas)
    assert x > frame.x + frame.width
    assert y > frame.y + frame.height
    assert locate_interval(points["int8-static"], canvas) == (y, y)
    timed, untimed = locate(points["fp32-plain"], canvas), locate(points["int8-dynamic"], canvas)
    assert timed[0] < frame.x + frame.width < untimed[0]
    assert untimed[1] < frame.y + frame.height


def test_no_strip_without_a_need_for_it() -> None:
    _, canvas = make_plot(make_crowded_manifest())
    assert canvas.gutter_x is None
    assert canvas.pit_y is None


def test_errors_are_never_off_the_scale() -> None:
    points, canvas = make_plot(make_error_manifest())
    assert canvas.y.is_log
    assert canvas.pit_y is None
    assert locate(points["int8-static"], canvas)[1] < locate(points["fp32-plain"], canvas)[1]


def test_marker_boxes_cover_marker_and_interval() -> None:
    points, canvas = make_plot(make_kept_manifest())
    point = points["served"]
    x, y = locate(point, canvas)
    high, low = locate_interval(point, canvas)
    marker, interval = marker_boxes(point, canvas)
    assert marker.x < x < marker.x + marker.width
    assert marker.y < y < marker.y + marker.height
    assert (interval.y, interval.y + interval.height) == (high, low)
