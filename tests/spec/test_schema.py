from __future__ import annotations

import json
from pathlib import Path

from packc.spec.schema import DIALECT, make_schema, render_schema

COMMITTED = Path(__file__).parents[2] / "docs" / "spec.schema.json"


def test_the_committed_schema_is_this_one() -> None:
    assert COMMITTED.read_text("utf-8") == render_schema(), "run: pack schema > docs/spec.schema.json"


def test_it_says_its_dialect_and_closes_every_table() -> None:
    schema = json.loads(render_schema())
    assert schema["$schema"] == DIALECT
    tables = [schema, *schema["$defs"].values()]
    assert all(table["additionalProperties"] is False for table in tables if table["type"] == "object")


def test_it_tells_of_overrides() -> None:
    assert "key by key" in make_schema()["$defs"]["TargetSection"]["description"]
