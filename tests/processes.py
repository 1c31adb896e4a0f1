"""Whether processes end that a test has orphaned."""

from __future__ import annotations

import time
from pathlib import Path


def await_end(pid: int) -> bool:
    """Whether the process ends within five seconds (Linux)."""
    for _ in range(100):
        stat = Path(f"/proc/{pid}/stat")
        if not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] == "Z":
            return True
        time.sleep(0.05)
    return False
