from __future__ import annotations

import pytest

from packc.package.lint.positions import FieldPath, find_entry, find_place, locate_fields

TEXT = """# a comment with { braces
name: "a { } # not a comment"
max_batch_size: 8
input [
  { name: "x" dims: [ 1, -1 ], data_type: TYPE_FP32 },
  { name: 'y' dims: 4 dims: 5 }
]
output { name: "z" dims: [ ] }
output < name: "w" >
parameters { key: "one" value { string_value: "1" } }
parameters: { key: "two", value: { string_value: "a" "b" } };
dynamic_batching { preferred_batch_size: [ 2 , 4 ] }
"""


@pytest.mark.parametrize(
    ("path", "at", "text"),
    [
        (("name",), "2:7", '"a { } # not a comment"'),
        (("max_batch_size",), "3:17", "8"),
        (("input", 0), "5:3", "{"),
        (("input", 0, "dims", 1), "5:26", "-1"),
        (("input", 0, "data_type"), "5:43", "TYPE_FP32"),
        (("input", 1, "dims", 1), "6:29", "5"),
        (("output", 0, "dims"), "8:20", "dims"),
        (("output", 1), "9:1", "output"),
        (("output", 1, "name"), "9:16", '"w"'),
        (("parameters", 1, "value", "string_value"), "11:50", '"a"'),
        (("dynamic_batching", "preferred_batch_size", 1), "12:48", "4"),
        (("dynamic_batching", 0, "preserve_ordering"), "12:1", "dynamic_batching"),
    ],
)
def test_places(path: FieldPath, at: str, text: str) -> None:
    place = find_place(locate_fields(TEXT), path)
    assert place is not None
    assert (f"{place.line}:{place.column}", place.text) == (at, text)


def test_what_was_not_written_has_no_place() -> None:
    assert find_place(locate_fields(TEXT), ("instance_group", 0, "count")) is None
    assert find_place({}, ()) is None


def test_entries_of_maps_are_found_by_their_key() -> None:
    places = locate_fields(TEXT)
    assert find_entry(places, ("parameters",), "two") == ("parameters", 1)
    assert find_entry(places, ("parameters",), "three") == ("parameters",)
