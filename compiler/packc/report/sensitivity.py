"""Which layers int8 costs quality in: a sentence, and a strip of cells, one for each part of each block."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from packc.package.insight import LayerRecord, SensitivityRecord
from packc.package.manifest import Manifest
from packc.report.figures import show_figure
from packc.report.svg import draw

WORST = 3
"""Layers that the sentence names."""
CELL = 24.0
WIDEST_CELL = 64.0
NUMBERED_FROM = 26.0
"""A narrower cell has no room for its figure."""


@dataclass(frozen=True, slots=True)
class Cell:
    """The layers of one kind in one block; errors of layers add up in squares."""

    kind: str
    block: int
    error: float
    is_kept: bool
    names: str


def describe_sensitivity(manifest: Manifest) -> str:
    """What int8 costs most in, and what the chosen candidate does about it; empty where nothing was measured."""
    record = manifest.sensitivity
    if record is None:
        return ""
    worst = sorted(record.layers, key=lambda layer: -layer.error)[:WORST]
    named = ", ".join(f"{_describe_layer(layer)} ({show_figure(100 * layer.error)} %)" for layer in worst)
    kept = [layer for layer in record.layers if layer.is_kept]
    share = show_figure(100 * sum(layer.cost_share for layer in kept))
    choice = (
        f"the chosen candidate keeps {len(kept)} of {len(record.layers)} layers, {share} % of the multiply-adds, in "
        "higher precision"
        if kept
        else "the chosen candidate keeps none of them in higher precision"
        if manifest.verdict.chosen
        else f"{len(record.layers)} layers were measured"
    )
    basis = f"over {record.samples} calibration samples"
    return f"int8 in one layer alone changes the answer most in {named}, {basis}; {choice}"


def describe_others(record: SensitivityRecord) -> str:
    """The layers outside the blocks, which the strip has no place for."""
    layers = [layer for layer in record.layers if layer.block is None]
    return ", ".join(f"{layer.name} {show_figure(100 * layer.error)} %{_mark_kept(layer)}" for layer in layers)


def draw_strip(record: SensitivityRecord, width: float, *, upright: bool) -> Markup | None:
    """The cells as SVG, blocks from left to right, or, `upright`, from top to bottom; None without any block."""
    cells = collect_cells(record.layers)
    if not cells:
        return None
    kinds = list(dict.fromkeys(cell.kind for cell in cells))
    blocks = 1 + max(cell.block for cell in cells)
    columns, rows = (len(kinds), blocks) if upright else (blocks, len(kinds))
    left, top = (26.0 if upright else 116.0), 22.0
    step = min((width - left) / columns, WIDEST_CELL)
    largest = max(cell.error for cell in cells) or 1.0
    children = [*_draw_kinds(kinds, left, top, step, upright=upright)]
    for block in range(blocks):
        x, y = (left - 8, top + (block + 0.65) * CELL) if upright else (left + (block + 0.5) * step, top - 8)
        if step >= NUMBERED_FROM or upright or block % 4 == 0:
            children.append(draw("text", str(block), x=x, y=y, text_anchor="end" if upright else "middle"))
    for cell in cells:
        column, row = (kinds.index(cell.kind), cell.block) if upright else (cell.block, kinds.index(cell.kind))
        children.append(_draw_cell(cell, left + column * step, top + row * CELL, step, cell.error / largest))
    height = top + rows * CELL + 2
    return draw(
        "svg",
        *children,
        class_="plot heat",
        width=left + columns * step + 2,
        height=height,
        viewBox=f"0 0 {left + columns * step + 2:.0f} {height:.0f}",
        role="img",
        aria_label="Change of the answer by int8 in each layer, in percent",
    )


def collect_cells(layers: Sequence[LayerRecord]) -> list[Cell]:
    """One cell for each kind and block, kinds in the order in which they come."""
    groups: dict[tuple[str, int], list[LayerRecord]] = {}
    for layer in layers:
        if layer.block is not None:
            groups.setdefault((layer.kind, layer.block), []).append(layer)
    return [
        Cell(
            kind,
            block,
            math.sqrt(sum(layer.error**2 for layer in group)),
            all(layer.is_kept for layer in group),
            ", ".join(layer.name for layer in group),
        )
        for (kind, block), group in groups.items()
    ]


def _draw_kinds(kinds: Sequence[str], left: float, top: float, step: float, *, upright: bool) -> list[Markup]:
    if upright:
        words = [kind.split()[-1] for kind in kinds]
        return [
            draw("text", word, x=left + (column + 0.5) * step, y=top - 8, text_anchor="middle")
            for column, word in enumerate(words)
        ]
    return [
        draw("text", kind, x=left - 10, y=top + (row + 0.65) * CELL, text_anchor="end")
        for row, kind in enumerate(kinds)
    ]


def _draw_cell(cell: Cell, x: float, y: float, step: float, strength: float) -> Markup:
    text = show_figure(100 * cell.error)
    kept = ", kept in higher precision" if cell.is_kept else ""
    note = f"{cell.kind}, block {cell.block}: {text} %{kept} ({cell.names})"
    box = draw(
        "rect", x=x + 1, y=y + 1, width=step - 2, height=CELL - 2, rx=3,
        class_="heat-cell", style=f"fill-opacity: {0.06 + 0.6 * strength:.2f}",
    )  # fmt: skip
    frame = draw("rect", x=x + 1.8, y=y + 1.8, width=step - 3.6, height=CELL - 3.6, rx=2.5, class_="heat-kept")
    figure = draw("text", text, x=x + step / 2, y=y + 0.66 * CELL, text_anchor="middle", class_="heat-figure")
    return draw(
        "g",
        draw("title", note),
        box,
        *([frame] if cell.is_kept else []),
        *([figure] if step >= NUMBERED_FROM else []),
    )


def _describe_layer(layer: LayerRecord) -> str:
    return layer.name if layer.block is None else f"{layer.kind} of block {layer.block}"


def _mark_kept(layer: LayerRecord) -> str:
    return " (kept)" if layer.is_kept else ""
