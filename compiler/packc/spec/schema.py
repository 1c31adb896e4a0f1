"""The JSON Schema of a spec file, for editors and other tools."""

from __future__ import annotations

import json
from typing import Any

from packc.spec.model import Spec

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def make_schema() -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of `Spec`."""
    schema = Spec.model_json_schema()
    return {
        "$schema": DIALECT,
        "title": "pack spec",
        "description": "What `pack build` compiles: a model, the traffic and budget it must keep, and its targets.",
        **{key: value for key, value in schema.items() if key not in ("title", "description")},
    }


def render_schema() -> str:
    """The schema as the text of `docs/spec.schema.json`."""
    return json.dumps(make_schema(), indent=2) + "\n"
