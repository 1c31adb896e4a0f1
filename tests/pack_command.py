"""Runs the installed `pack` program as a user would."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Finished:
    """What one command left."""

    code: int
    stdout: str
    stderr: str

    @property
    def document(self) -> dict[str, Any]:
        """stdout as the one JSON document that `--json` promises."""
        return json.loads(self.stdout)


def run_pack(*arguments: object, cwd: Path | None = None, **environment: str) -> Finished:
    """`pack ARGUMENTS...` in a process of its own, with extra environment variables."""
    done = subprocess.run(
        [str(Path(sys.executable).with_name("pack")), *map(str, arguments)],
        cwd=cwd,
        env={**os.environ, "HF_HUB_OFFLINE": "1", **environment},
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    return Finished(done.returncode, done.stdout, done.stderr)
