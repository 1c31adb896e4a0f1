"""The report as one self-contained page: no script, no request, light and dark, readable without its plots."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from packc.package.manifest import Manifest
from packc.report.bars import make_charts
from packc.report.figures import MISSING, show_figure, show_quality
from packc.report.promises import describe_misses, make_promises
from packc.report.tradeoff import LEGEND, draw_mark, draw_tradeoff
from packc.report.view import (
    Row,
    describe_basis,
    describe_count,
    find_chosen,
    make_caveats,
    make_rows,
)
from packc.resources import resource_dir


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
    environment.filters.update(figure=show_figure, mark=_render_mark, quality=show_quality, words=_show_words)
    rows = make_rows(manifest)
    return environment.get_template("report.html.j2").render(
        manifest=manifest,
        headline=make_headline(manifest),
        rows=rows,
        promises=make_promises(manifest),
        wide_plot=draw_tradeoff(manifest, rows, 940, 420, "wide"),
        narrow_plot=draw_tradeoff(manifest, rows, 340, 340, "narrow"),
        legend=_make_legend(manifest, rows),
        charts=make_charts(manifest, rows),
        basis=describe_basis(rows),
        caveats=make_caveats(manifest),
        misses=describe_misses(manifest),
        count=describe_count,
        missing=MISSING,
    )


def make_headline(manifest: Manifest) -> Headline:
    """The verdict as a headline; its details are the verdict's own reasons."""
    verdict, chosen = manifest.verdict, find_chosen(manifest)
    if verdict.met is None:
        return Headline("open", "Not judged", "The promises could not be judged here", verdict.reasons)
    if verdict.met and chosen:
        return Headline("good", "Promises kept", f"{chosen.id} keeps every promise", verdict.reasons)
    if chosen:
        return Headline("bad", "Promise missed", f"{chosen.id} was published although it misses", verdict.reasons)
    return Headline("bad", "Promise missed", "No candidate keeps every promise", verdict.reasons)


def _make_legend(manifest: Manifest, rows: tuple[Row, ...]) -> tuple[tuple[str, str], ...]:
    shown = {row.standing for row in rows if row.record.measurements and row.record.measurements.quality}
    marks = {*shown, *(("served",) if manifest.served else ())}
    return tuple((mark, meaning) for mark, meaning in LEGEND if mark in marks)


def _render_mark(standing: str) -> Markup:
    return Markup(
        f'<svg class="key" width="16" height="16" viewBox="0 0 16 16" aria-hidden="true">{draw_mark(standing)}</svg>'
    )


def _show_words(name: str) -> str:
    """A metric's name for people: `neighbour agreement`."""
    return name.replace("_", " ")
