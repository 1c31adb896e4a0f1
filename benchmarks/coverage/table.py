"""Rows -> docs/coverage.md."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from importlib.metadata import version

from check import Row

HEAD = """# What pack compiles

`python benchmarks/coverage` writes this page: a tiny random checkpoint of every architecture that transformers
{version} lists is taken through ingest (export, compared with its source at several shapes), the graph passes and ONNX
Runtime. "Builds" means that the fp32 recipe with all fusions answers as the source does, within {error:g} of its
magnitude; `int8` says whether an int8 recipe runs too. Nothing is timed, and random weights say nothing about the
quality of int8. A run goes on from the rows of earlier ones, which are in the cache.

**{count} architectures: {builds} build, {refused} are refused, {fails} fail.**

Not among them: {decoders} types of causal language models, which are no encoders; heads of one layer on an encoder that
has its row (all kinds of them are there for BERT, ViT and ResNet); and {not_made} architectures of which this script
makes no small checkpoint, at the end of the page.
"""

BUILDS = """
## Builds

`attentions` counts the attention operators that were fused, of those that the config leads to expect (for models with
a decoder, those of the encoder). A miss is a warning of the build, never silence.

| task | architecture | model type | attentions | int8 |
| --- | --- | --- | --- | --- |
"""

REFUSED = """
## Refused

`pack inspect` or `pack build` says so in one line, and how to go on.

| why | architectures |
| --- | --- |
"""

FAILS = """
## Fails

| architecture | model type | what happens |
| --- | --- | --- |
"""

NOT_MADE = """
## No small checkpoint

| architecture | model type | what the class says |
| --- | --- | --- |
"""


def render_table(rows: Sequence[Row], decoders: int, error: float) -> str:
    """The whole page. `decoders` counts the model types that were left out, `error` is what "exact" allows."""
    by_outcome: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        by_outcome[row.outcome].append(row)
    counts = Counter({outcome: len(found) for outcome, found in by_outcome.items()})
    text = HEAD.format(
        version=version("transformers"),
        error=error,
        count=len(rows) - counts["not made"],
        builds=counts["builds"],
        refused=counts["refused"],
        fails=counts["fails"],
        not_made=counts["not made"],
        decoders=decoders,
    )
    text += BUILDS + "".join(_list_builds(by_outcome["builds"]))
    text += REFUSED + "".join(_list_refused(by_outcome["refused"]))
    if by_outcome["fails"]:
        text += FAILS + "".join(_list_reasons(by_outcome["fails"]))
    if by_outcome["not made"]:
        text += NOT_MADE + "".join(_list_reasons(by_outcome["not made"]))
    return text


def _list_builds(rows: Iterable[Row]) -> Iterable[str]:
    for row in sorted(rows, key=lambda row: (row.task, row.architecture.lower())):
        cells = (row.task, row.architecture, row.model_type, row.attentions or "-", row.int8)
        yield f"| {' | '.join(cells)} |\n"


def _list_refused(rows: Iterable[Row]) -> Iterable[str]:
    """One line a reason, the commonest first."""
    by_reason: dict[str, list[str]] = defaultdict(list)
    for row in rows:
        by_reason[_shorten(row)].append(row.architecture)
    for reason, names in sorted(by_reason.items(), key=lambda item: (-len(item[1]), item[0])):
        yield f"| {reason} | {', '.join(sorted(names, key=str.lower))} |\n"


def _list_reasons(rows: Iterable[Row]) -> Iterable[str]:
    for row in sorted(rows, key=lambda row: row.architecture.lower()):
        yield f"| {row.architecture} | {row.model_type} | {_shorten(row)} |\n"


def _shorten(row: Row) -> str:
    """The reason without the class's own name, so that equal reasons read alike; one line, safe in a cell."""
    text = re.sub(r"(the checkpoint: |the checkpoint )?", "", row.reason, count=1)
    text = re.sub(rf"\s*\(?'?\b{row.architecture}\b'?(\.forward\(\))?\)?", "", text)
    text = re.sub(r" For more information, run with TORCH_LOGS.*?\"\.", "", text)
    return " ".join(text.replace("|", "\\|").split())[:200]
