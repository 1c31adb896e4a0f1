"""Packages of AOTInductor for a GPU, as far as they are read before anything is loaded."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

FACTS = {
    "pack.torch": "2.11.0",
    "pack.cuda": "13.0",
    "pack.capability": "9.0",
    "pack.gpu": "NVIDIA H100",
    "pack.inputs": '["x"]',
    "pack.outputs": '["y"]',
}


def write_package(path: Path, facts: dict[str, str] = FACTS) -> str:
    """One that says `facts` of itself, and has no program."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("model/data/aotinductor/model/a.wrapper_metadata.json", json.dumps(facts))
    return str(path)
