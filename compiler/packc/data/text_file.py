"""Reads text samples from JSONL and CSV, and tells every malformed line at once."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from packc.errors import DataError, Diagnostic, Span
from packc.samples import RawSamples

SHOWN_MISTAKES = 10
SHOWN_CHARACTERS = 100
EXPECTED_LINE = 'a line is an object such as {"text": "...", "label": "..."}; text_pair and label are optional'
EXPECTED_TABLE = "the first line names the columns: text, and optionally text_pair and label"


@dataclass(frozen=True, slots=True)
class Row:
    """One sample: its text, or two texts joined by a tab; its label, if it has one."""

    text: str
    label: str | None


class _BadRow(Exception):
    """What is wrong with one row."""


def read_text_file(path: Path) -> RawSamples:
    """The texts in `path`. Raises DataError with one diagnostic a bad line, at most SHOWN_MISTAKES of them."""
    try:
        content = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        message = f"{path}:{line} is not UTF-8 text: {error.reason}"
        raise DataError(Diagnostic(message, hint="save it as UTF-8")) from error
    parse = _read_csv if path.suffix == ".csv" else _read_jsonl
    parsed = list(parse(path, content))
    if not parsed:
        raise DataError(Diagnostic(f"{path} has no samples: it is empty"))
    mistakes = [Diagnostic(result, span) for span, result in parsed if isinstance(result, str)]
    rows = [(span, result) for span, result in parsed if isinstance(result, Row)]
    if not mistakes and any(row.label is not None for _, row in rows):
        missing = 'it has no "label", while other samples have one'
        mistakes = [Diagnostic(missing, span) for span, row in rows if row.label is None]
    if mistakes:
        raise DataError(*_shorten(mistakes, EXPECTED_TABLE if path.suffix == ".csv" else EXPECTED_LINE))
    labels = tuple(row.label for _, row in rows if row.label is not None)
    return RawSamples(origin=str(path), texts=tuple(row.text for _, row in rows), labels=labels)


def _shorten(mistakes: list[Diagnostic], hint: str) -> list[Diagnostic]:
    """The first mistakes, how many more there are, and the hint once, at the end."""
    shown = mistakes[:SHOWN_MISTAKES]
    if len(mistakes) > SHOWN_MISTAKES:
        shown.append(Diagnostic(f"and {len(mistakes) - SHOWN_MISTAKES} more malformed lines"))
    return [*shown[:-1], Diagnostic(shown[-1].message, shown[-1].span, hint)]


def _read_jsonl(path: Path, content: str) -> Iterator[tuple[Span, Row | str]]:
    """Place and row, or place and mistake, of each line that is not blank."""
    for number, line in enumerate(content.split("\n"), 1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except json.JSONDecodeError as error:
            yield _span(path, number, line, error.colno), f"this is not JSON: {error.msg}"
            continue
        if isinstance(value, dict):
            yield _span(path, number, line), _parse_row(value)
        else:
            yield _span(path, number, line), f"this is {_name_type(value)}, not a JSON object"


def _read_csv(path: Path, content: str) -> Iterator[tuple[Span, Row | str]]:
    """Place and row, or place and mistake, of each record below the header; a record may span lines."""
    lines = content.split("\n")
    reader = csv.reader(io.StringIO(content), strict=True)
    header: list[str] = []
    while True:
        number = reader.line_num + 1
        try:
            cells = next(reader, None)
        except csv.Error as error:
            yield _span(path, number, lines[number - 1]), f"this is not CSV: {error}"
            return
        if cells is None:
            return
        if not cells:
            continue
        if not header:
            header = [cell.strip() for cell in cells]
            if "text" not in header:
                yield _span(path, number, lines[number - 1]), 'no column is called "text"'
                return
        elif len(cells) != len(header):
            mistake = f"this row has {len(cells)} cells, the header has {len(header)}"
            yield _span(path, number, lines[number - 1]), mistake
        else:
            filled: dict[str, object] = {name: cell for name, cell in zip(header, cells, strict=True) if cell}
            yield _span(path, number, lines[number - 1]), _parse_row(filled)


def _parse_row(value: dict[str, object]) -> Row | str:
    """The sample, or what is wrong with it."""
    try:
        return _make_row(value)
    except _BadRow as error:
        return str(error)


def _make_row(value: dict[str, object]) -> Row:
    text = _get_text(value, "text")
    if text is None:
        seen = ", ".join(value) or "nothing"
        raise _BadRow(f'it has no "text", only {seen}')
    pair = _get_text(value, "text_pair")
    label = value.get("label")
    if label is not None and (isinstance(label, bool) or not isinstance(label, str | int)):
        raise _BadRow(f'"label" is {_name_type(label)}, not a class name or index')
    return Row(text if pair is None else f"{text}\t{pair}", None if label is None else str(label))


def _get_text(value: dict[str, object], key: str) -> str | None:
    """The text under `key`, its tabs made spaces, since a tab separates pairs."""
    text = value.get(key)
    if text is None:
        return None
    if not isinstance(text, str):
        raise _BadRow(f'"{key}" is {_name_type(text)}, not a string')
    if not text.strip():
        raise _BadRow(f'"{key}" is empty')
    return text.replace("\t", " ")


def _name_type(value: object) -> str:
    names = {
        dict: "an object",
        list: "an array",
        str: "a string",
        bool: "a boolean",
        int: "a number",
        float: "a number",
    }
    return names.get(type(value), "null")


def _span(path: Path, line: int, text: str, column: int = 1) -> Span:
    shown = text[:SHOWN_CHARACTERS] + ("..." if len(text) > SHOWN_CHARACTERS else "")
    return Span(path, line, min(column, len(shown) + 1), 1, shown)
