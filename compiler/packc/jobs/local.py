"""Runs a bundle in a child process here: a crash, a hang or a lack of memory costs one candidate, never the build."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from packc.child import foreign_environment
from packc.jobs.bundle import read_result
from packc.jobs.job import JobResult, JobStatus
from packc.jobs.runner import LOADED

POLL_S = 0.02
MEMORY_SHARE = 0.9

KEPT_VARIABLES = (
    "PATH",
    "HOME",
    "TMPDIR",
    "LANG",
    "LC_ALL",
    "LD_LIBRARY_PATH",
    "PYTHONPATH",
    "VIRTUAL_ENV",
)
KEPT_PREFIXES = ("CUDA_", "NVIDIA_", "NEURON_", "PACK_TENSORRT_")


@dataclass(frozen=True, slots=True)
class _End:
    """How the watch over a child ended: "ok" when the child ended by itself, else which limit it broke."""

    status: JobStatus
    failure: str
    peak_rss_mib: float


def run_bundle(
    folder: Path, timeout_s: float, python: Path | None = None, memory_limit_mib: float | None = None
) -> JobResult:
    """Runs the bundle with `python`, or this interpreter, and returns its result; never raises for what the candidate
    does.

    The child and all that it starts are killed after `timeout_s`, when its resident memory passes `memory_limit_mib`
    (watched every 20 ms; Linux), and when this process is interrupted or dies. Its output is kept in stdout.txt and
    stderr.txt. A result that was written counts, however the child ended after it.
    """
    for stale in ("result.json", "answers.npz", LOADED):
        (folder / stale).unlink(missing_ok=True)
    with (folder / "stdout.txt").open("wb") as stdout, (folder / "stderr.txt").open("wb") as stderr:
        child = subprocess.Popen(
            [python or sys.executable, "run.py", "--child"],
            cwd=folder,
            env=child_environment(os.environ, is_own=python is None),
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            start_new_session=True,
        )
        try:
            end = _watch(child, timeout_s, memory_limit_mib)
        finally:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(child.pid, signal.SIGKILL)
            child.wait()
            (folder / LOADED).touch()  # copies wait for no one that has gone
    if (folder / "result.json").exists():
        return read_result(folder)
    if end.status != "ok":
        return _failure(end.status, end.failure, end.peak_rss_mib)
    if child.returncode < 0:
        return _failure("killed", _describe_signal(-child.returncode, end.peak_rss_mib), end.peak_rss_mib)
    failure = f"the runner exited with status {child.returncode}: {_last_line(folder)}"
    return _failure("failed", failure, end.peak_rss_mib)


def find_memory_limit_mib(meminfo: Path = Path("/proc/meminfo")) -> float | None:
    """90 % of the memory that is available now; None where the system does not say (not Linux)."""
    try:
        available_kib = int(meminfo.read_text("utf-8").split("MemAvailable:")[1].split()[0])
    except (OSError, IndexError):
        return None
    return MEMORY_SHARE * available_kib / 1024


def child_environment(environment: Mapping[str, str], *, is_own: bool = True) -> dict[str, str]:
    """What a runner inherits: where things are and which devices it may use; of packages only in its own interpreter.

    Thread settings (OMP_NUM_THREADS and its like) stay out: they would overrule the threads that the job names.
    """
    kept = {k: v for k, v in environment.items() if k in KEPT_VARIABLES or k.startswith(KEPT_PREFIXES)}
    kept = kept if is_own else foreign_environment(kept)
    return kept | {"PYTHONDONTWRITEBYTECODE": "1", "PYTHONUNBUFFERED": "1"}


def _watch(child: subprocess.Popen[bytes], timeout_s: float, memory_limit_mib: float | None) -> _End:
    deadline = time.monotonic() + timeout_s
    peak_mib = 0.0
    while child.poll() is None:
        peak_mib = max(peak_mib, _peak_rss_mib(child.pid))
        if memory_limit_mib is not None and peak_mib > memory_limit_mib:
            failure = f"used {peak_mib:,.0f} MiB of memory, above the limit of {memory_limit_mib:,.0f} MiB"
            return _End("killed", failure, peak_mib)
        if time.monotonic() > deadline:
            return _End("timed_out", f"no result within {timeout_s:g} s", peak_mib)
        time.sleep(POLL_S)
    return _End("ok", "", peak_mib)


def _peak_rss_mib(pid: int) -> float:
    try:
        return int(Path(f"/proc/{pid}/status").read_text("utf-8").split("VmHWM:")[1].split()[0]) / 1024
    except (OSError, IndexError):
        return 0.0


def _describe_signal(number: int, peak_mib: float) -> str:
    try:
        name = signal.Signals(number).name
    except ValueError:
        name = f"signal {number}"
    if number == signal.SIGKILL:
        return f"killed by {name}, likely out of memory (peak {peak_mib:,.0f} MiB)"
    return f"killed by {name} ({signal.strsignal(number)})"


def _last_line(folder: Path) -> str:
    lines = (folder / "stderr.txt").read_text("utf-8", "replace").strip().splitlines()
    return lines[-1].strip() if lines else "it printed nothing"


def _failure(status: JobStatus, failure: str, peak_rss_mib: float) -> JobResult:
    return JobResult(
        status=status,
        failure=failure,
        load_s=0.0,
        peak_rss_mib=peak_rss_mib,
        times=(),
        answers=None,
        device="",
        versions=(),
    )
