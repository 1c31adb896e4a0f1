from __future__ import annotations

from dataclasses import fields

from packc.package.manifest import SCHEMA, Manifest


def test_the_keys_that_other_tools_read() -> None:
    names = {field.name for field in fields(Manifest)}
    assert {"schema", "state", "verdict", "candidates", "served", "environment", "files"} <= names
    assert SCHEMA == 1
