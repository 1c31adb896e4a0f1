from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from packc import child
from packc.child import FAILURE_FILE, answer_request, ask_child, run_child
from packc.errors import PackError
from processes import await_end


def stand_in(folder: Path, monkeypatch: pytest.MonkeyPatch, code: str) -> Path:
    """Has every child run `code`; returns the path of its request."""
    fake = folder / "python"
    fake.write_text(f'#!/bin/sh\nexec "{sys.executable}" -c "{code}"\n')
    fake.chmod(0o755)
    monkeypatch.setattr(child.sys, "executable", str(fake))
    return folder / "request.json"


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (f"import os; os.kill(os.getpid(), {int(signal.SIGKILL)})", "was killed by SIGKILL, likely out of memory"),
        ("import os; os.abort()", "crashed with SIGABRT"),
        ("print('first'); print('no module named x'); raise SystemExit(3)", "ended with status 3: no module named x"),
        ("raise SystemExit(3)", "ended with status 3: it printed nothing"),
        ("import time; time.sleep(60)", "took more than 0.5 s and was stopped"),
    ],
)
def test_a_crash_says_how_it_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str, message: str) -> None:
    request = stand_in(tmp_path, monkeypatch, code)
    assert run_child("any", request, "the lowering", 0.5) == f"the lowering {message}"
    assert not (tmp_path / FAILURE_FILE).exists()


def test_the_childs_own_reason_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    request = stand_in(tmp_path, monkeypatch, f"open('{tmp_path / FAILURE_FILE}', 'w').write('no room'); exit(1)")
    assert run_child("any", request, "the lowering", 60) == "no room"


def test_what_a_failing_child_printed_is_logged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    code = f"import sys; sys.stderr.write('where'); open('{tmp_path / FAILURE_FILE}', 'w').write('no room'); exit(1)"
    request = stand_in(tmp_path, monkeypatch, code)
    assert run_child("any", request, "the lowering", 60) == "no room"
    with pytest.raises(PackError):
        ask_child("any", b"", "reading")
    assert caplog.messages == ["the lowering failed:\nwhere", "reading failed:\nwhere"]


def test_nothing_is_said_of_a_child_that_ends_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run_child("any", stand_in(tmp_path, monkeypatch, "print('done')"), "the lowering", 60) is None


@pytest.mark.parametrize("rest", ["time.sleep(60)", "raise SystemExit(3)"])
def test_what_a_child_started_is_stopped_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rest: str) -> None:
    pid = tmp_path / "pid"
    start = f"p = subprocess.Popen(['sleep', '60']); open('{pid}', 'w').write(str(p.pid))"
    request = stand_in(tmp_path, monkeypatch, f"import subprocess, time; {start}; {rest}")
    assert run_child("any", request, "the lowering", 5)
    assert await_end(int(pid.read_text()))


@pytest.mark.parametrize("name", ["peak_child", "work_child"])
def test_a_killed_build_leaves_no_child(tmp_path: Path, name: str) -> None:
    """The child waits for a request that its parent, a shell, never sends."""
    os.mkfifo(tmp_path / "request")
    command = f'"{sys.executable}" -m packc.measure.{name} <> "{tmp_path}/request" & echo $!; wait'
    with subprocess.Popen(["sh", "-c", command], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        time.sleep(3)
        parent.kill()
        assert await_end(pid)


def test_a_child_answers_what_it_reads() -> None:
    assert json.loads(ask_child("json.tool", b"[2, 3]", "reading", {"COLUMNS": "80"})) == [2, 3]


def test_a_failure_to_answer_is_told_in_one_line() -> None:
    with pytest.raises(PackError, match=r"^reading ended with status 1: .*Expecting value"):
        ask_child("json.tool", b"nonsense", "reading")


def test_a_child_that_does_not_answer_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child, "ANSWER_LIMIT_S", 0.01)
    with pytest.raises(PackError, match=r"^reading took more than 0\.01 s and was stopped$"):
        ask_child("json.tool", b"[]", "reading")


def fail(error: Exception) -> None:
    raise error


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (PackError("the graph has\nno Softmax"), "the graph has no Softmax"),
        (MemoryError(), "there is not enough memory"),
        (KeyError("x"), "KeyError: 'x'"),
    ],
)
def test_the_child_puts_its_reason_in_one_line(tmp_path: Path, error: Exception, message: str) -> None:
    assert answer_request(tmp_path / "request.json", lambda: fail(error)) == 1
    assert (tmp_path / FAILURE_FILE).read_text() == message


def test_a_child_that_is_done_says_nothing(tmp_path: Path) -> None:
    assert answer_request(tmp_path / "request.json", lambda: None) == 0
    assert list(tmp_path.iterdir()) == []
