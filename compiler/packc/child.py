"""Runs a module of pack in a child process: a crash or a lack of memory ends that one, and is put into words.

A child has a process group of its own, and when it ends or is stopped, what it started (a C++ compiler) ends with it.
"""

from __future__ import annotations

import contextlib
import ctypes
import logging
import os
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO

from packc.errors import PackError

log = logging.getLogger(__name__)

PR_SET_PDEATHSIG = 1

ANSWER_LIMIT_S = 120.0

FAILURE_FILE = "failure.txt"
"""One line; written beside the request."""

OWN_VARIABLES = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")
"""Where an interpreter finds its packages, which another one has elsewhere."""


def run_child(module: str, request: Path, what: str, time_limit_s: float) -> str | None:
    """Runs `python -m module request`; why it failed, in one line that begins with `what`, or None.

    The child writes its own reason to FAILURE_FILE beside the request; what it prints goes to output.txt there, and to
    the log (debug) where it failed. `what` is singular: "the compiler".
    """
    output = request.with_name("output.txt")
    environment = {"OMP_WAIT_POLICY": "PASSIVE"}
    with output.open("wb") as stream:
        try:
            returncode, _, _ = _run([module, str(request)], None, stream, environment, time_limit_s)
        except subprocess.TimeoutExpired:
            return _describe_timeout(what, time_limit_s)
    failure = request.with_name(FAILURE_FILE)
    if not (returncode or failure.is_file()):
        return None
    said = output.read_text("utf-8", "replace")
    log.debug("%s failed:\n%s", what, said.strip())
    return failure.read_text("utf-8") if failure.is_file() else describe_crash(returncode, said, what)


def foreign_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """`environment` for another interpreter: without what tells this one where its packages are."""
    return {name: value for name, value in environment.items() if name not in OWN_VARIABLES}


def ask_child(module: str, request: bytes, what: str, environment: Mapping[str, str] | None = None) -> bytes:
    """What `python -m module` writes to stdout when it reads `request` from stdin; `environment` is added to ours.

    Raises PackError with one line that begins with `what` when it fails or takes more than ANSWER_LIMIT_S.
    """
    try:
        returncode, answer, said = _run([module], request, subprocess.PIPE, environment or {}, ANSWER_LIMIT_S)
    except subprocess.TimeoutExpired:
        raise PackError(_describe_timeout(what, ANSWER_LIMIT_S)) from None
    if returncode:
        told = said.decode("utf-8", "replace")
        log.debug("%s failed:\n%s", what, told.strip())
        raise PackError(describe_crash(returncode, told, what))
    return answer


def answer_request(path: Path, work: Callable[[], None]) -> int:
    """In the child: does `work`, and puts what goes wrong into FAILURE_FILE beside the request; the exit status."""
    try:
        work()
    except PackError as error:
        traceback.print_exc()
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
    """In the child: it does not outlive a killed build."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def describe_crash(returncode: int, output: str, what: str) -> str:
    """How `what`, singular as in run_child, ended: by which signal, else the status and the last line of its output."""
    if returncode == -signal.SIGKILL:
        return f"{what} was killed by SIGKILL, likely out of memory"
    if returncode < 0:
        return f"{what} crashed with {signal.Signals(-returncode).name}"
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    return f"{what} ended with status {returncode}: {lines[-1][:200] if lines else 'it printed nothing'}"


def _run(
    arguments: list[str],
    given: bytes | None,
    stream: IO[bytes] | int,
    environment: Mapping[str, str],
    time_limit_s: float,
) -> tuple[int, bytes, bytes]:
    """(exit status, stdout, stderr) of `python -m *arguments`. Raises TimeoutExpired when it had to be stopped."""
    process = subprocess.Popen(
        [sys.executable, "-m", *arguments],
        stdin=subprocess.DEVNULL if given is None else subprocess.PIPE,
        stdout=stream,
        stderr=stream,
        env={**os.environ, "PYTHONWARNINGS": "ignore", **environment},
        start_new_session=True,
    )
    try:
        out, err = process.communicate(given, timeout=time_limit_s)
    finally:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    return process.returncode, out, err


def _describe_timeout(what: str, time_limit_s: float) -> str:
    return f"{what} took more than {time_limit_s:g} s and was stopped"
