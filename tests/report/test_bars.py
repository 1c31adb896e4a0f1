from __future__ import annotations

from dataclasses import replace

import pytest

from manifests import make_gpu_manifest, make_halved_manifest, make_kept_manifest, make_planned_manifest
from packc.report.bars import make_charts
from packc.report.view import make_rows


def test_each_chart_has_only_what_was_measured() -> None:
    manifest = make_kept_manifest()
    latency, size, memory = make_charts(manifest, make_rows(manifest))
    assert [chart.title for chart in (latency, size, memory)] == ["Latency", "Size", "Memory"]
    assert [bar.label for bar in latency.bars] == [
        "int8-dynamic-skip-ffn-down",
        "fp32-plain",
        "fp32-fused",
        "int8-static-skip-ffn-down",
    ]
    assert latency.bars[0].text == "2.12 · 2.61"
    assert latency.bars[0].inner_share is not None
    assert latency.bars[0].inner_share < latency.bars[0].share
    assert size.bars[0].inner_share is None


def test_bars_are_to_scale_and_the_longest_fills_the_chart() -> None:
    manifest = make_kept_manifest()
    _, size, _ = make_charts(manifest, make_rows(manifest))
    shares = {bar.label: bar.share for bar in size.bars}
    assert max(shares.values()) == 100
    assert abs(shares["int8-dynamic-skip-ffn-down"] - 100 * 31.8 / 90.4) < 1e-9


def test_the_bound_is_drawn_where_it_fits() -> None:
    manifest = make_kept_manifest()
    latency, size, _ = make_charts(manifest, make_rows(manifest))
    assert (latency.bound_share, latency.bound_text) == (100 * 15 / 21.4, "bound 15 ms")
    assert (size.bound_share, size.bound_text) == (None, "")
    far = replace(manifest, promises=replace(manifest.promises, latency_ms=900.0))
    latency, *_ = make_charts(far, make_rows(far))
    assert (latency.bound_share, latency.bound_text) == (None, "bound 900 ms, beyond this chart")


def test_without_measurements_there_is_no_chart() -> None:
    manifest = make_planned_manifest()
    assert make_charts(manifest, make_rows(manifest)) == ()


def test_the_share_of_the_limit_has_a_chart_where_it_is_known() -> None:
    manifest = make_halved_manifest()
    limit = make_charts(manifest, make_rows(manifest))[-1]
    assert limit.title == "Physical limit"
    assert [(bar.label, bar.text, bar.share) for bar in limit.bars] == [
        ("int8-dynamic-skip-ffn-down", "0.57", pytest.approx(56.6)),
        ("fp32-plain", "0.61", pytest.approx(61.5)),
        ("fp32-fused", "0.78", pytest.approx(77.7)),
    ]


def test_a_bound_on_memory_is_drawn_at_that_of_the_gpu_where_there_is_one() -> None:
    manifest = make_gpu_manifest(device_memory_mib=206.0)
    manifest = replace(manifest, promises=replace(manifest.promises, memory_mib=300.0))
    charts = {chart.title: chart for chart in make_charts(manifest, make_rows(manifest))}
    assert (charts["GPU memory"].bound_text, charts["Memory"].bound_text) == ("bound 300 MiB", "")
    assert {bar.text for bar in charts["GPU memory"].bars} == {"206"}
