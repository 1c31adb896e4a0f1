"""Finds where each key and value of a TOML document stands, which the standard library's parser does not tell.

Meant for text that `tomllib` has accepted: it follows the grammar and checks nothing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

from packc.errors import Span

Loc = tuple[int | str, ...]
"""Path of a value in the document: keys, and indices within arrays."""

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_BLANK = re.compile(r"[ \t]*")
_BLANK_LINES = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_STRING = re.compile(
    r'"""(?:\\.|[^\\])*?"{3,5}(?!")|"(?:\\.|[^"\\\n])*"'
    r"|'''.*?'{3,5}(?!')|'[^'\n]*'",
    re.DOTALL,
)
_SCALAR = re.compile(r"[^,\]}#\n]*")


@dataclass(frozen=True, slots=True)
class Places:
    """Character ranges [start, end) of a document's keys and values."""

    path: Path
    text: str
    keys: dict[Loc, tuple[int, int]] = field(default_factory=dict)
    values: dict[Loc, tuple[int, int]] = field(default_factory=dict)

    def find_key(self, loc: Loc) -> Span:
        """Where the key at `loc` was first written, or else the nearest thing that contains it."""
        return self._find(loc, self.keys)

    def find_value(self, loc: Loc) -> Span:
        """Where the value at `loc` stands; for a table without a value of its own, its key."""
        return self._find(loc, self.values | {k: v for k, v in self.keys.items() if k not in self.values})

    def _find(self, loc: Loc, places: dict[Loc, tuple[int, int]]) -> Span:
        for size in range(len(loc), 0, -1):
            if place := places.get(loc[:size]) or self.values.get(loc[:size]):
                return self.span(*place)
        return Span(self.path, 1, 1)

    def span(self, start: int, end: int) -> Span:
        """The range as line and column; a range over several lines ends with its first."""
        line_start = self.text.rfind("\n", 0, start) + 1
        line_end = self.text.find("\n", start)
        line = self.text[line_start : line_end if line_end >= 0 else None]
        column = start - line_start
        length = max(1, min(end - start, len(line.rstrip()) - column))
        return Span(self.path, self.text.count("\n", 0, start) + 1, column + 1, length, line.replace("\t", " "))


def locate(path: Path, text: str) -> Places:
    """Places of all keys and values of `text`, valid TOML with `\\n` line ends; `path` is only quoted."""
    places = Places(path, text)
    _Scanner(places).scan()
    return places


class _Scanner:
    def __init__(self, places: Places) -> None:
        self.places = places
        self.text = places.text
        self.at = 0
        self.table: Loc = ()
        self.array_sizes: dict[Loc, int] = {}

    def scan(self) -> None:
        self._skip(_BLANK_LINES)
        while self.at < len(self.text):
            if self.text[self.at] == "[":
                self._read_header()
            else:
                self._read_pair(self.table)
            self._skip(_BLANK_LINES)

    def _read_header(self) -> None:
        is_array = self.text.startswith("[[", self.at)
        self.at += 2 if is_array else 1
        parts = self._read_key()
        table: Loc = ()
        for i, (name, place) in enumerate(parts):
            table = (*table, name)
            self.places.keys.setdefault(table, place)
            if is_array and i == len(parts) - 1:
                self.array_sizes[table] = self.array_sizes.get(table, 0) + 1
            if size := self.array_sizes.get(table):
                table = (*table, size - 1)
                self.places.keys.setdefault(table, place)
        self.table = table
        self.at += 2 if is_array else 1

    def _read_pair(self, table: Loc) -> None:
        loc = table
        for name, place in self._read_key():
            loc = (*loc, name)
            self.places.keys.setdefault(loc, place)
        self.at += 1  # the equals sign
        self._skip(_BLANK)
        self._read_value(loc)

    def _read_key(self) -> list[tuple[str, tuple[int, int]]]:
        """A dotted key, up to what follows it; quoted parts without their quotes (escapes are left as written)."""
        parts = []
        while True:
            self._skip(_BLANK)
            start = self.at
            quoted = self.text[start] in "\"'"
            self._skip(_STRING if quoted else _BARE_KEY)
            name = self.text[start + 1 : self.at - 1] if quoted else self.text[start : self.at]
            parts.append((name, (start, self.at)))
            self._skip(_BLANK)
            if self.text[self.at] != ".":
                return parts
            self.at += 1

    def _read_value(self, loc: Loc) -> None:
        start = self.at
        opening = self.text[start]
        if opening in "[{":
            self.at += 1
            self._skip(_BLANK_LINES)
            index = 0
            while self.text[self.at] not in "]}":
                if opening == "[":
                    self._read_value((*loc, index))
                else:
                    self._read_pair(loc)
                index += 1
                self._skip(_BLANK_LINES)
                if self.text[self.at] == ",":
                    self.at += 1
                    self._skip(_BLANK_LINES)
            self.at += 1
            end = self.at
        else:
            self._skip(_STRING if opening in "\"'" else _SCALAR)
            end = start + len(self.text[start : self.at].rstrip())
        self.places.values[loc] = (start, end)

    def _skip(self, pattern: re.Pattern[str]) -> None:
        if match := pattern.match(self.text, self.at):
            self.at = match.end()
