"""Bar charts of what each candidate costs: latency, size, memory; and how near the limit its speed is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from packc.package.insight import LimitRecord
from packc.package.manifest import Manifest, MeasurementRecord
from packc.report.figures import show_bound, show_figure, show_share
from packc.report.view import Row, Standing


@dataclass(frozen=True, slots=True)
class Bar:
    """One candidate's bar. Shares are of the chart's width, in percent."""

    label: str
    standing: Standing
    text: str
    share: float
    inner_share: float | None
    """Of a second figure drawn within the bar."""

    @property
    def css(self) -> str:
        return self.standing.replace(" ", "-")


@dataclass(frozen=True, slots=True)
class Chart:
    """Bars of one figure, in the order of the candidates; those without the figure are absent."""

    title: str
    note: str
    bars: tuple[Bar, ...]
    bound_share: float | None
    """Where the promise's line stands; None without a promise."""
    bound_text: str


def make_charts(manifest: Manifest, rows: Sequence[Row]) -> tuple[Chart, ...]:
    """The charts that have at least one bar."""
    bounds = manifest.promises
    is_gpu = has_gpu_memory(rows)  # which the bound is about, then
    of_gpu, of_host = ((bounds.memory_mib if is_gpu is about_gpu else None, "MiB") for about_gpu in (True, False))
    limits = {limit.candidate: limit for limit in manifest.limits.candidates} if manifest.limits else {}
    charts = (
        _make_chart("Latency", "p50 within p99, ms, one caller", rows, _p99, _p50, bounds.latency_ms, "ms"),
        _make_chart("Size", "files of the artifact, MiB", rows, lambda m: m.size_mib, None, bounds.size_mib, "MiB"),
        _make_chart("GPU memory", "of one copy, MiB", rows, lambda m: m.device_memory_mib, None, *of_gpu),
        _make_chart("Memory", "peak resident, MiB", rows, lambda m: m.peak_rss_mib, None, *of_host),
        _make_limits(rows, limits),
    )
    return tuple(chart for chart in charts if chart.bars)


def has_gpu_memory(rows: Sequence[Row]) -> bool:
    """Whether candidates were measured to take memory of a GPU."""
    return any((m := row.record.measurements) and m.device_memory_mib is not None for row in rows)


def _make_chart(
    title: str,
    note: str,
    rows: Sequence[Row],
    get: Callable[[MeasurementRecord], float | None],
    get_inner: Callable[[MeasurementRecord], float | None] | None,
    bound: float | None,
    unit: str,
) -> Chart:
    values = [
        (row, value, get_inner(m) if get_inner else None)
        for row in rows
        if (m := row.record.measurements) and (value := get(m)) is not None
    ]
    longest = max((value for _, value, _ in values), default=0.0)
    full = max(longest, min(bound or 0.0, 2 * longest)) or 1.0
    bars = tuple(
        Bar(
            row.label,
            row.standing,
            show_figure(value) if inner is None else f"{show_figure(inner)} · {show_figure(value)}",
            100 * value / full,
            None if inner is None else 100 * inner / full,
        )
        for row, value, inner in values
    )
    is_drawn = bound is not None and bound <= full
    return Chart(
        title,
        note,
        bars,
        100 * bound / full if bound is not None and is_drawn else None,
        "" if bound is None else f"bound {show_bound(bound)} {unit}{'' if is_drawn else ', beyond this chart'}",
    )


def _make_limits(rows: Sequence[Row], limits: Mapping[str, LimitRecord]) -> Chart:
    found = [(row, limits[row.record.id]) for row in rows if row.record.id in limits]
    bars = tuple(
        Bar(row.label, row.standing, show_share(limit.share), 100 * min(limit.share, 1.0), None) for row, limit in found
    )
    return Chart("Physical limit", "estimated floor as a share of p50", bars, None, "")


def _p50(m: MeasurementRecord) -> float | None:
    return m.p50_ms


def _p99(m: MeasurementRecord) -> float | None:
    return m.p99_ms
