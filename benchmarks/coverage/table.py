"""Rows -> docs/coverage.md."""

from __future__ import annotations

import datetime
from collections import Counter
from collections.abc import Sequence
from importlib.metadata import version

from check import Row

MEANINGS = {
    "builds": "exported, equal to its source, lowered, and its fp32 recipes answer alike",
    "refused": "refused with the line that stands beside it",
    "fails": "ends in an error that is no clear refusal: to be mended",
    "not made": "transformers could not make or run a tiny checkpoint of it here",
}


def render_table(rows: Sequence[Row]) -> str:
    """The counts, then a line an architecture: those that build first."""
    counts = Counter(row.outcome for row in rows)
    order = list(MEANINGS)
    ranked = sorted(rows, key=lambda row: (order.index(row.outcome), row.model_type, row.architecture))
    lines = [
        "# Architectures",
        "",
        f"A tiny random checkpoint of each of {len(rows)} classes of transformers {version('transformers')} went",
        f"through export, comparison, graph passes and ONNX Runtime ({datetime.date.today().isoformat()}). Decoders",
        "and models of several parts are refused by design.",
        "",
        *(f"- **{counts[outcome]} {outcome}**: {meaning}" for outcome, meaning in MEANINGS.items()),
        "",
        "`python benchmarks/coverage` writes this page. *Attentions* are those fused, of those expected; *int8* is the",
        "score of the first int8 recipe on random weights, which says nothing of trained ones.",
        "",
        "| model type | class | outcome | task | attentions | int8 | why |",
        "| --- | --- | --- | --- | --- | --- | --- |",
        *(_render_row(row) for row in ranked),
    ]
    return "\n".join(lines) + "\n"


def _render_row(row: Row) -> str:
    cells = (row.model_type, row.architecture, row.outcome, row.task, row.attentions, row.int8, row.reason)
    return "| " + " | ".join(cell.replace("|", "/").replace("\n", " ") for cell in cells) + " |"
