"""Where each field of a config.pbtxt stands: protobuf's own parser forgets that once the text is read.

The text is known to parse, so this scanner need not judge it; it only has to follow its nesting.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

Step = str | int
FieldPath = tuple[Step, ...]
"""("input", 0, "dims", 1): names of fields, each with its index among its equals; an index may be left out for 0."""

_TOKEN = re.compile(
    r"""(?P<space>\s+|\#[^\n]*)
      | (?P<string>"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*')
      | (?P<word>[-+.\w]+)
      | (?P<mark>[{}\[\]<>:,;/])""",
    re.VERBOSE,
)


@dataclass(frozen=True, slots=True)
class Place:
    """A token of the text: line and column from 1."""

    line: int
    column: int
    text: str

    @property
    def value(self) -> str:
        """The token without quotes."""
        return self.text.strip("\"'")


def locate_fields(text: str) -> Mapping[FieldPath, Place]:
    """The place of every field's value (of its name, for a message) by its whole path, indices included."""
    places: dict[FieldPath, Place] = {}
    _read_message(_Cursor(list(_split(text))), (), places)
    return places


def find_place(places: Mapping[FieldPath, Place], path: FieldPath) -> Place | None:
    """The place of `path`, else of the nearest field around it that was written; None when none was."""
    full = _fill_indices(path)
    while full:
        if full in places:
            return places[full]
        full = full[:-2]
    return None


def find_entry(places: Mapping[FieldPath, Place], path: FieldPath, key: str) -> FieldPath:
    """The path of the entry with `key` in the map field `path`; the map's own path when no such entry was written."""
    full = _fill_indices(path)[:-1]
    index = 0
    while (*full, index) in places:
        written = places.get((*full, index, "key", 0))
        if written is not None and written.value == key:
            return (*full, index)
        index += 1
    return path


def _fill_indices(path: FieldPath) -> FieldPath:
    full: list[Step] = []
    for step in path:
        if isinstance(step, str) and full and isinstance(full[-1], str):
            full.append(0)
        full.append(step)
    if full and isinstance(full[-1], str):
        full.append(0)
    return tuple(full)


class _Cursor:
    """The tokens that are still to be read."""

    def __init__(self, tokens: list[Place]) -> None:
        self._tokens = tokens
        self._next = 0

    def peek(self) -> str:
        return self._tokens[self._next].text if self._next < len(self._tokens) else ""

    def take(self) -> Place:
        self._next += 1
        return self._tokens[self._next - 1]

    def skip(self, *texts: str) -> bool:
        if self.peek() not in texts or not self.peek():
            return False
        self._next += 1
        return True


def _split(text: str) -> Iterator[Place]:
    line, line_start = 1, 0
    for match in _TOKEN.finditer(text):
        token = match.group()
        if match.lastgroup != "space":
            yield Place(line, match.start() - line_start + 1, token)
        if (newlines := token.count("\n")) > 0:
            line += newlines
            line_start = match.start() + token.rindex("\n") + 1


def _read_message(cursor: _Cursor, path: FieldPath, places: dict[FieldPath, Place]) -> None:
    counts: dict[str, int] = {}
    while cursor.peek() not in ("", "}", ">"):
        name = cursor.take()
        cursor.skip(":")
        if not cursor.skip("["):
            _read_value(cursor, name, path, counts, places, in_list=False)
        else:
            if cursor.peek() == "]":
                places.setdefault((*path, name.text, 0), name)
            while not cursor.skip("]"):
                _read_value(cursor, name, path, counts, places, in_list=True)
                cursor.skip(",")
        cursor.skip(",", ";")


def _read_value(
    cursor: _Cursor,
    name: Place,
    path: FieldPath,
    counts: dict[str, int],
    places: dict[FieldPath, Place],
    *,
    in_list: bool,
) -> None:
    index = counts.get(name.text, 0)
    counts[name.text] = index + 1
    here = (*path, name.text, index)
    first = cursor.take()
    if first.text not in ("{", "<"):
        places[here] = first
        while cursor.peek()[:1] in ('"', "'"):
            cursor.take()
        return
    places[here] = first if in_list else name
    _read_message(cursor, here, places)
    cursor.skip("}", ">")
