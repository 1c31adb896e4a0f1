"""Runs a module of this package in a process of its own: a request in as JSON, an answer out as JSON."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping

from packc.errors import PackError

TIME_LIMIT_S = 120.0


def run_child(module: str, request: bytes, environment: Mapping[str, str] | None = None) -> bytes:
    """What `python -m module` writes to stdout when it reads `request` from stdin; `environment` is added to ours.

    Raises PackError with the last line that it wrote to stderr.
    """
    try:
        done = subprocess.run(
            [sys.executable, "-m", module],
            input=request,
            capture_output=True,
            env={**os.environ, "PYTHONWARNINGS": "ignore", **(environment or {})},
            timeout=TIME_LIMIT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise PackError(f"{module} took more than {TIME_LIMIT_S:g} s and was stopped") from None
    if done.returncode != 0:
        lines = done.stderr.decode("utf-8", "replace").strip().splitlines()
        raise PackError(f"{module} ended with status {done.returncode}: {lines[-1][:200] if lines else 'no word'}")
    return done.stdout
