"""Golden files: expected text beside the tests, rewritten when PACK_UPDATE_GOLDEN is set."""

from __future__ import annotations

import os
from pathlib import Path

GOLDEN = Path(__file__).parent / "golden"


def check_golden(name: str, text: str) -> None:
    """Asserts that `text` is what `tests/golden/<name>` holds."""
    path = GOLDEN / name
    if os.environ.get("PACK_UPDATE_GOLDEN"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    assert path.is_file(), f"no golden file {path}: run with PACK_UPDATE_GOLDEN=1 and read what it wrote"
    assert text == path.read_text("utf-8")
