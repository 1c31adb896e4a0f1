"""The report as plain text: a table that fits the terminal, reads without colour, and needs nothing beyond Python."""

from __future__ import annotations

import os
import shutil
import sys
import textwrap
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TextIO

from packc.package.manifest import Manifest, MeasurementRecord
from packc.report.caveats import make_caveats
from packc.report.combined import list_combined
from packc.report.device import describe_gpu
from packc.report.figures import MISSING, show_figure, show_protocol, show_share
from packc.report.sensitivity import describe_sensitivity
from packc.report.view import (
    Row,
    Standing,
    describe_basis,
    describe_count,
    describe_limit,
    describe_load,
    describe_outcome,
    describe_quality,
    find_limit,
    list_left_out,
    list_missing,
    make_rows,
)
from packc.report.ways import describe_tried, list_tried

WIDTH_WITHOUT_TERMINAL = 120
_GAP = "  "
_COLORS: dict[Standing, str] = {
    "chosen": "1;32",
    "kept": "32",
    "over budget": "33",
    "outpaced": "2",
    "below quality": "33",
    "not timed": "2",
    "not judged": "2",
    "not run": "2",
    "failed": "31",
}


@dataclass(frozen=True, slots=True)
class Column:
    """One column of the table; the higher `rank` is, the earlier it is left out of a narrow table."""

    title: str
    show: Callable[[Row], str]
    rank: int
    is_number: bool = True


def print_report(manifest: Manifest, file: TextIO | None = None) -> None:
    """Prints the report to `file` (stdout when left out), as wide as the terminal, with colour only on a terminal."""
    out = file or sys.stdout
    is_terminal = out.isatty()
    color = is_terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    width = shutil.get_terminal_size((WIDTH_WITHOUT_TERMINAL, 0)).columns if is_terminal else WIDTH_WITHOUT_TERMINAL
    print(render_report(manifest, width, color), file=out)


def render_report(manifest: Manifest, width: int = WIDTH_WITHOUT_TERMINAL, color: bool = False) -> str:
    """The report in lines of at most `width` characters (no less than 40), without a trailing newline."""
    width = max(width, 40)
    rows = make_rows(manifest)
    blocks = [
        _render_title(manifest, rows, width),
        _render_candidates(rows, manifest, width, color),
        _render_list("missing figures", list_missing(rows), width),
        _render_list("left out", list_left_out(manifest), width),
        _render_list("warnings", ((row.record.id, text) for row in rows for text in row.record.warnings), width),
        _render_lines(filter(None, (describe_limit(manifest), describe_sensitivity(manifest))), width),
        _render_served(manifest, width),
        _render_tried(manifest, width),
        _render_lines((f"note: {caveat}" for caveat in make_caveats(manifest)), width),
        _render_list("several GPUs", list_combined(manifest), width),
        _render_verdict(manifest, width, color),
    ]
    return "\n\n".join("\n".join(block) for block in blocks if block)


def _render_title(manifest: Manifest, rows: tuple[Row, ...], width: int) -> list[str]:
    title = f"{manifest.model} for {manifest.target} (profile {manifest.profile}): {manifest.state}"
    return [*_wrap(title, width), *_wrap(describe_basis(rows), width), *_wrap(describe_gpu(manifest), width)]


def _render_candidates(rows: tuple[Row, ...], manifest: Manifest, width: int, color: bool) -> list[str]:
    if not rows:
        return ["no candidate was planned"]
    columns = _fit_columns(_make_columns(manifest, lambda row: row.record.id), rows, width) or _fit_columns(
        _make_columns(manifest, lambda row: row.label), rows, width
    )
    if columns is None:
        return [line for row in rows for line in _render_stacked(row, manifest, width, color)]
    widths = [_column_width(column, rows) for column in columns]
    header = _GAP.join(_align(c.title, w, c.is_number) for c, w in zip(columns, widths, strict=True))
    lines = [f"  {header}".rstrip()]
    for row in rows:
        cells = (_align(c.show(row), w, c.is_number) for c, w in zip(columns, widths, strict=True))
        lines.append(_paint(f"{_mark(row)} {_GAP.join(cells)}".rstrip(), row.standing, color))
    return lines


def _make_columns(manifest: Manifest, show_name: Callable[[Row], str]) -> tuple[Column, ...]:
    def number(title: str, rank: int, get: Callable[[MeasurementRecord], float | None]) -> Column:
        return Column(title, lambda row: _show(row, get), rank)

    return (
        Column("candidate", show_name, 0, is_number=False),
        Column("precision", lambda row: row.record.precision, 6, is_number=False),
        number("p50 ms", 3, lambda m: m.p50_ms),
        number("p99 ms", 1, lambda m: m.p99_ms),
        number("samples/s", 5, lambda m: m.throughput_per_s),
        number("MiB", 4, lambda m: m.size_mib),
        number("GPU MiB", 6, lambda m: m.device_memory_mib),
        number("RSS MiB", 7, lambda m: m.peak_rss_mib),
        Column(manifest.promises.quality_metric, _show_row_quality, 2, is_number=False),
        Column("of limit", lambda row: _show_limit(row, manifest), 5),
        Column("status", lambda row: row.words, 0, is_number=False),
        Column("noise", _show_noise, 8, is_number=False),
    )


def _fit_columns(columns: tuple[Column, ...], rows: tuple[Row, ...], width: int) -> tuple[Column, ...] | None:
    """As many columns as fit, the least important left out first; None when the figures of most interest do not fit."""
    columns = tuple(column for column in columns if any(column.show(row) not in ("", MISSING) for row in rows))
    while 2 + sum(_column_width(c, rows) for c in columns) + len(_GAP) * (len(columns) - 1) > width:
        last = max(columns, key=lambda column: column.rank)
        if last.rank <= 2:
            return None
        columns = tuple(column for column in columns if column is not last)
    return columns


def _render_stacked(row: Row, manifest: Manifest, width: int, color: bool) -> list[str]:
    """A candidate in a few wrapped lines, for places too narrow for a table."""
    figures = ", ".join(
        f"{column.title} {column.show(row)}"
        for column in _make_columns(manifest, lambda row: row.record.id)[2:-2]
        if column.show(row) != MISSING
    )
    head = textwrap.wrap(f"{_mark(row)} {row.record.id}: {row.words}", width, subsequent_indent="    ")
    return [
        *(_paint(line, row.standing, color) for line in head),
        *_wrap(figures, width, indent="    "),
    ]


def _render_list(title: str, items: Iterable[tuple[str, str]], width: int) -> list[str]:
    lines = [line for name, text in items for line in _wrap(f"{name}: {text}", width, indent="  ", hang="    ")]
    return [title, *lines] if lines else []


def _render_served(manifest: Manifest, width: int) -> list[str]:
    served = manifest.served
    if served is None:
        return []
    text = (
        f"served by {served.server} over {show_protocol(served.protocol)} to {describe_load(served)}, "
        f"{describe_count(served.samples, 'request')}: p50 {show_figure(served.p50_ms)} ms, "
        f"p99 {show_figure(served.p99_ms)} ms, {show_figure(served.throughput_per_s)} samples/s"
    )
    if served.quality:
        text += f", {served.quality.metric} {describe_quality(served.quality)}"
    return _wrap(text, width)


def _render_tried(manifest: Manifest, width: int) -> list[str]:
    percentile = manifest.promises.percentile
    items = (
        (f"{'*' if item.is_chosen else ' '} {item.candidate}", describe_tried(item, percentile))
        for item in list_tried(manifest)
    )
    return _render_list("ways of serving", items, width)


def _render_verdict(manifest: Manifest, width: int, color: bool) -> list[str]:
    verdict = manifest.verdict
    head = describe_outcome(manifest) + (":" if verdict.reasons else "")
    standing: Standing = "not judged" if verdict.met is None else "chosen" if verdict.met else "failed"
    reasons = (line for reason in verdict.reasons for line in _wrap(reason, width, indent="  ", hang="    "))
    return [*(_paint(line, standing, color) for line in _wrap(head, width)), *reasons]


def _render_lines(texts: Iterable[str], width: int) -> list[str]:
    return [line for text in texts for line in _wrap(text, width, hang="  ")]


def _show(row: Row, get: Callable[[MeasurementRecord], float | None]) -> str:
    return show_figure(get(row.record.measurements) if row.record.measurements else None)


def _show_row_quality(row: Row) -> str:
    return describe_quality(row.record.measurements.quality if row.record.measurements else None)


def _show_limit(row: Row, manifest: Manifest) -> str:
    limit = find_limit(manifest, row.record.id)
    return MISSING if limit is None else show_share(limit.share)


def _show_noise(row: Row) -> str:
    return "noisy" if row.record.measurements and row.record.measurements.noisy else ""


def _mark(row: Row) -> str:
    return "*" if row.is_chosen else " "


def _column_width(column: Column, rows: tuple[Row, ...]) -> int:
    return max(len(column.title), *(len(column.show(row)) for row in rows))


def _align(text: str, width: int, right: bool) -> str:
    return text.rjust(width) if right else text.ljust(width)


def _wrap(text: str, width: int, indent: str = "", hang: str | None = None) -> list[str]:
    return textwrap.wrap(
        text, width, initial_indent=indent, subsequent_indent=indent if hang is None else hang, break_on_hyphens=False
    )


def _paint(text: str, standing: Standing, color: bool) -> str:
    return f"\x1b[{_COLORS[standing]}m{text}\x1b[0m" if color else text
