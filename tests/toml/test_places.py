from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from packc.toml.places import Loc, locate

DOCUMENT = '''# a comment = "with a key"
title = "a # that is no comment"   # but this is
'single quoted' = 'C:\\no\\escapes'
"escaped \\" quote" = 1
dotted . key."of three" = true

[table]  # header = comment
integer = 1_000
negative = -3.5e2
date = 1979-05-27 07:32:00Z
multi = """
one "quoted" line
two \\""" still inside
"""
literal = \'\'\'
['not a header']
key = 1\'\'\'
quotes_at_the_end = """"quoted""""
array = [ 1, 2,
  3, # three
  [ "a, b", 'c]' ],
  { x = 1, y.z = [ 2 ] },
]
inline = { a = { b = "}" }, c = [] }
empty = ""

[table.below."quoted.part"]
x = nan

[[list]]
name = "first"

[[list]]
name = "second"
inner.value = 2

[[list.nested]]
deep = "yes"
'''


def find(data: Any, loc: Loc) -> Any:
    for part in loc:
        data = data[part]
    return data


def list_leaves(data: Any, below: Loc = ()) -> list[Loc]:
    if not isinstance(data, dict | list):
        return [below]
    items = data.items() if isinstance(data, dict) else enumerate(data)
    return [leaf for key, value in items for leaf in list_leaves(value, (*below, key))]


def test_every_value_is_found_where_it_stands() -> None:
    data = tomllib.loads(DOCUMENT)
    places = locate(Path("doc.toml"), DOCUMENT)
    assert {loc for loc in list_leaves(data) if "escaped" not in str(loc)} <= set(places.values)
    for loc, (start, end) in places.values.items():
        if "escaped" in str(loc[0]):
            continue
        read = tomllib.loads(f"x = {DOCUMENT[start:end]}")["x"]
        assert read == find(data, loc) or (read != read and loc[-1] == "x")


def test_every_key_is_found_where_it_stands() -> None:
    places = locate(Path("doc.toml"), DOCUMENT)
    for loc, (start, end) in places.keys.items():
        name = next(part for part in reversed(loc) if isinstance(part, str))
        assert DOCUMENT[start:end].strip("\"'") == name


def test_tables_of_an_array_have_their_index() -> None:
    places = locate(Path("doc.toml"), DOCUMENT)
    span = places.find_value(("list", 1, "nested", 0, "deep"))
    assert span.text == 'deep = "yes"'
    assert places.find_value(("list", 1, "inner", "value")).line == span.line - 3


def test_span_counts_lines_and_columns_from_one() -> None:
    span = locate(Path("doc.toml"), "a = 1\n\n[t]\n\tbc = [\n1]\n").find_value(("t", "bc"))
    assert (span.line, span.column, span.length, span.text) == (4, 7, 1, " bc = [")


def test_what_is_not_there_is_found_at_what_contains_it() -> None:
    places = locate(Path("doc.toml"), "[budget]\nlatency_ms = 1\n")
    assert places.find_key(("budget", "size_mib")).text == "[budget]"
    assert places.find_value(("budget", "latency_ms", "deeper")).column == 14
    assert places.find_key(("model",)).line == 1
    assert places.find_key(("model",)).text == ""
