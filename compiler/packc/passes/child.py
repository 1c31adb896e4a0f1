"""Runs a module of the passes in a child process: a crash or a lack of memory ends that one, and is put into words."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

from packc.errors import PackError

PR_SET_PDEATHSIG = 1

FAILURE_FILE = "failure.txt"
"""One line; written beside the request."""


def run_child(module: str, request: Path, what: str, time_limit_s: float) -> str | None:
    """Runs `python -m module request`; why it failed, in one line that begins with `what`, or None.

    The child writes its own reason to FAILURE_FILE beside the request; what it prints goes to output.txt there.
    """
    output = request.with_name("output.txt")
    environment = {**os.environ, "PYTHONWARNINGS": "ignore", "OMP_WAIT_POLICY": "PASSIVE"}
    with output.open("wb") as stream:
        try:
            process = subprocess.run(
                [sys.executable, "-m", module, str(request)],
                stdin=subprocess.DEVNULL, stdout=stream, stderr=stream, env=environment,
                timeout=time_limit_s, check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            return f"{what} took more than {time_limit_s:g} s and were stopped"
    failure = request.with_name(FAILURE_FILE)
    if failure.is_file():
        return failure.read_text("utf-8")
    return _describe_crash(process.returncode, output, what) if process.returncode else None


def answer_request(path: Path, work: Callable[[], None]) -> int:
    """In the child: does `work`, and puts what goes wrong into FAILURE_FILE beside the request; the exit status."""
    try:
        work()
    except PackError as error:
        failure = str(error)
    except MemoryError:
        failure = "there is not enough memory"
    except Exception as error:
        traceback.print_exc()
        failure = f"{type(error).__name__}: {error}"
    else:
        return 0
    path.with_name(FAILURE_FILE).write_text(" ".join(failure.split())[:400], "utf-8")
    return 1


def die_with_parent() -> None:
    """In the child: a killed build leaves nothing running."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _describe_crash(returncode: int, output: Path, what: str) -> str:
    if returncode == -signal.SIGKILL:
        return f"{what} were killed by SIGKILL, likely out of memory"
    if returncode < 0:
        return f"{what} crashed with {signal.Signals(-returncode).name}"
    lines = [line.strip() for line in output.read_text("utf-8", "replace").splitlines() if line.strip()]
    return f"{what} ended with status {returncode}: {lines[-1][:200] if lines else 'it printed nothing'}"
