"""The report as one self-contained page: no script, no request, light and dark, readable without its plots."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from packc.package.manifest import Manifest
from packc.report.bars import has_gpu_memory, make_charts
from packc.report.caveats import make_caveats
from packc.report.combined import list_combined
from packc.report.device import describe_gpu
from packc.report.figures import MISSING, show_figure, show_protocol, show_quality, show_words
from packc.report.sensitivity import describe_others, describe_sensitivity, draw_strip
from packc.report.tiles import make_tiles
from packc.report.tradeoff import LEGEND, draw_mark, draw_tradeoff
from packc.report.view import (
    OUTPACED,
    Row,
    describe_basis,
    describe_count,
    describe_limit,
    describe_load,
    describe_outcome,
    describe_short,
    find_served,
    list_left_out,
    make_rows,
)
from packc.report.ways import describe_tried_plan, list_tried
from packc.resources import resource_dir
from packc.roofline import OF_PROFILE


@dataclass(frozen=True, slots=True)
class Headline:
    """What the page says first. `tone` is "good", "bad" or "open"."""

    tone: str
    word: str
    title: str
    details: tuple[str, ...]


def write_html(manifest: Manifest, path: Path) -> None:
    """Writes the page to `path`, whole or not at all."""
    staging = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        staging.write_text(render_html(manifest), encoding="utf-8")
        staging.replace(path)
    finally:
        staging.unlink(missing_ok=True)


def render_html(manifest: Manifest) -> str:
    """The page as text."""
    environment = Environment(
        loader=FileSystemLoader(resource_dir("templates")),
        undefined=StrictUndefined,
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(
        figure=show_figure, mark=_render_mark, quality=show_quality, words=show_words, protocol=show_protocol
    )
    rows = make_rows(manifest)
    return environment.get_template("report.html.j2").render(
        manifest=manifest,
        headline=make_headline(manifest),
        rows=rows,
        tiles=make_tiles(manifest),
        wide_plot=draw_tradeoff(manifest, rows, 940, 420, "wide"),
        narrow_plot=draw_tradeoff(manifest, rows, 340, 340, "narrow"),
        legend=_make_legend(manifest, rows),
        charts=make_charts(manifest, rows),
        basis=describe_basis(rows),
        caveats=make_caveats(manifest),
        limit=describe_limit(manifest),
        is_stated=manifest.limits is not None and manifest.limits.source.startswith(OF_PROFILE),
        gpu=describe_gpu(manifest),
        has_gpu_memory=has_gpu_memory(rows),
        combined=list_combined(manifest),
        sensitivity=describe_sensitivity(manifest),
        wide_strip=draw_strip(manifest.sensitivity, 960, upright=False) if manifest.sensitivity else None,
        narrow_strip=draw_strip(manifest.sensitivity, 310, upright=True) if manifest.sensitivity else None,
        other_layers=describe_others(manifest.sensitivity) if manifest.sensitivity else "",
        count=describe_count,
        load=describe_load(manifest.served) if manifest.served else "",
        missing=MISSING,
        short=describe_short,
        served_candidate=find_served(manifest),
        served_plan=describe_tried_plan(manifest.serving) if manifest.serving else "",
        outpaced=OUTPACED,
        left_out=list_left_out(manifest),
        tried=[(record, describe_tried_plan(record)) for record in list_tried(manifest)],
    )


def make_headline(manifest: Manifest) -> Headline:
    """The verdict as a headline; its details are the verdict's own reasons."""
    outcome = describe_outcome(manifest)
    title = outcome if manifest.verdict.chosen else outcome[0].upper() + outcome[1:]
    tone, word = {True: ("good", "Promises kept"), False: ("bad", "Promise missed"), None: ("open", "Not judged")}[
        manifest.verdict.met
    ]
    return Headline(tone, word, title, manifest.verdict.reasons)


def _make_legend(manifest: Manifest, rows: tuple[Row, ...]) -> tuple[tuple[str, str], ...]:
    shown = {row.standing for row in rows if row.record.measurements and row.record.measurements.quality}
    marks = {*shown, *(("served",) if find_served(manifest) else ())}
    return tuple((mark, meaning) for mark, meaning in LEGEND if mark in marks)


def _render_mark(standing: str) -> Markup:
    return Markup(
        f'<svg class="key" width="16" height="16" viewBox="0 0 16 16" aria-hidden="true">{draw_mark(standing)}</svg>'
    )
