from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from packc.jobs.local import child_environment, find_memory_limit_mib, run_bundle
from stub_bundle import DOUBLING, TYPICAL, stub_bundle, stub_job


def engine_that(statement: str) -> str:
    """An engine that loads, then does `statement` instead of answering."""
    return "import os, signal, subprocess, sys, time\n" + DOUBLING.replace(
        "    return {", f"    {statement}\n    return {{", 1
    )


def is_alive(pid: int) -> bool:
    status = Path(f"/proc/{pid}/stat")
    return status.exists() and status.read_text().rsplit(")", 1)[1].split()[0] != "Z"


def wait_until(condition: object, seconds: float = 30.0) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():  # type: ignore[operator]
            return True
        time.sleep(0.02)
    return False


def test_a_healthy_bundle_returns_its_result(tmp_path: Path) -> None:
    result = run_bundle(stub_bundle(tmp_path, job=stub_job(answer=True)), timeout_s=60)
    assert result.status == "ok"
    assert result.answers == tmp_path / "bundle/answers.npz"
    assert len(result.times) == 1


def test_an_exception_keeps_its_traceback_in_the_bundle(tmp_path: Path) -> None:
    result = run_bundle(stub_bundle(tmp_path, engine_that("1 / 0"), stub_job()), timeout_s=60)
    assert (result.status, result.failure) == ("failed", "ZeroDivisionError: division by zero")
    assert "Traceback" in (tmp_path / "bundle/stderr.txt").read_text()


@pytest.mark.parametrize(
    ("statement", "failure"),
    [
        ("os.abort()", "killed by SIGABRT (Aborted)"),
        ("os.kill(os.getpid(), signal.SIGSEGV)", "killed by SIGSEGV (Segmentation fault)"),
    ],
)
def test_a_crash_is_told_by_its_signal(tmp_path: Path, statement: str, failure: str) -> None:
    result = run_bundle(stub_bundle(tmp_path, engine_that(statement), stub_job()), timeout_s=60)
    assert (result.status, result.failure) == ("killed", failure)


def test_a_kill_from_outside_suggests_memory(tmp_path: Path) -> None:
    engine = engine_that("time.sleep(0.2); os.kill(os.getpid(), signal.SIGKILL)")
    result = run_bundle(stub_bundle(tmp_path, engine, stub_job()), timeout_s=60)
    assert result.status == "killed"
    assert result.failure is not None
    assert result.failure.startswith("killed by SIGKILL, likely out of memory (peak ")
    assert result.peak_rss_mib > 5


def test_an_early_exit_shows_the_last_line(tmp_path: Path) -> None:
    engine = engine_that("sys.stderr.write('first\\nno licence\\n'); sys.stderr.flush(); os._exit(3)")
    result = run_bundle(stub_bundle(tmp_path, engine, stub_job()), timeout_s=60)
    assert (result.status, result.failure) == ("failed", "the runner exited with status 3: no licence")


def test_a_hang_ends_with_the_time_limit_and_takes_its_children_along(tmp_path: Path) -> None:
    engine = engine_that(
        "child = subprocess.Popen(['sleep', '600']); open('child.pid', 'w').write(str(child.pid)); time.sleep(600)"
    )
    bundle = stub_bundle(tmp_path, engine, stub_job())
    result = run_bundle(bundle, timeout_s=4)
    assert (result.status, result.failure) == ("timed_out", "no result within 4 s")
    grandchild = int((bundle / "child.pid").read_text())
    assert wait_until(lambda: not is_alive(grandchild))


def test_memory_beyond_the_limit_ends_the_child(tmp_path: Path) -> None:
    engine = engine_that("hog = [bytearray(b'x' * 2**24) for _ in range(40)]; time.sleep(60)")
    result = run_bundle(stub_bundle(tmp_path, engine, stub_job()), timeout_s=60, memory_limit_mib=200)
    assert result.status == "killed"
    assert result.failure is not None
    assert result.failure.endswith("above the limit of 200 MiB")
    assert result.peak_rss_mib > 200


def test_the_child_goes_first_when_the_machine_runs_out_of_memory(tmp_path: Path) -> None:
    engine = engine_that("open('score', 'w').write(open('/proc/self/oom_score_adj').read())")
    run_bundle(stub_bundle(tmp_path, engine, stub_job(cases=(TYPICAL,))), timeout_s=60)
    assert int((tmp_path / "bundle/score").read_text()) == 1000


def test_another_interpreter_finds_its_own_packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", "mine")
    wrapper = tmp_path / "python"
    wrapper.write_text(f'#!/bin/sh\necho "$PYTHONPATH" > path\nexec {sys.executable} "$@"\n')
    wrapper.chmod(0o755)
    bundle = stub_bundle(tmp_path, job=stub_job(answer=True))
    assert run_bundle(bundle, timeout_s=60, python=wrapper).status == "ok"
    assert (bundle / "path").read_text().strip() == ""
    assert child_environment({"PYTHONPATH": "mine"})["PYTHONPATH"] == "mine"


def test_an_old_result_is_never_taken_for_a_new_one(tmp_path: Path) -> None:
    bundle = stub_bundle(tmp_path, job=stub_job())
    assert run_bundle(bundle, timeout_s=60).status == "ok"
    (bundle / "engine.py").write_text(engine_that("os.abort()"))
    assert run_bundle(bundle, timeout_s=60).status == "killed"


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGKILL])
def test_the_child_ends_with_its_parent(tmp_path: Path, ending: signal.Signals) -> None:
    bundle = stub_bundle(
        tmp_path, engine_that("open('own.pid', 'w').write(str(os.getpid())); time.sleep(600)"), stub_job()
    )
    code = f"import pathlib; from packc.jobs.local import run_bundle; run_bundle(pathlib.Path({str(bundle)!r}), 600)"
    with subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL) as parent:
        own = bundle / "own.pid"
        assert wait_until(lambda: own.exists() and own.read_text() != "")
        child = int(own.read_text())
        assert is_alive(child)
        os.kill(parent.pid, ending)
        assert parent.wait(10) != 0
    assert wait_until(lambda: not is_alive(child))


def test_thread_settings_do_not_reach_the_child() -> None:
    environment = child_environment(
        {"PATH": "/bin", "OMP_NUM_THREADS": "64", "CUDA_VISIBLE_DEVICES": "1", "SECRET": "x"}
    )
    assert environment == {
        "PATH": "/bin",
        "CUDA_VISIBLE_DEVICES": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONUNBUFFERED": "1",
    }


def test_the_memory_limit_leaves_a_tenth(tmp_path: Path) -> None:
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemTotal: 4194304 kB\nMemAvailable:    2048000 kB\n")
    assert find_memory_limit_mib(meminfo) == 1800.0
    assert find_memory_limit_mib(tmp_path / "none") is None
