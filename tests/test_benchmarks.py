"""Benchmarks are not run by the tests; they have to start, and to tell what they can be asked."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[1] / "benchmarks"


@pytest.mark.parametrize("script", ["coverage", *sorted(path.name for path in FOLDER.glob("*.py"))])
def test_help(script: str) -> None:
    done = subprocess.run([sys.executable, FOLDER / script, "--help"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("usage: ")
