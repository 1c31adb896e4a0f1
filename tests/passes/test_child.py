from __future__ import annotations

import signal
import sys
from pathlib import Path

import pytest

from packc.errors import PackError
from packc.passes import child
from packc.passes.child import FAILURE_FILE, answer_request, run_child


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
        (f"import os; os.kill(os.getpid(), {int(signal.SIGKILL)})", "were killed by SIGKILL, likely out of memory"),
        ("import os; os.abort()", "crashed with SIGABRT"),
        ("print('first'); print('no module named x'); raise SystemExit(3)", "ended with status 3: no module named x"),
        ("raise SystemExit(3)", "ended with status 3: it printed nothing"),
        ("import time; time.sleep(60)", "took more than 0.5 s and were stopped"),
    ],
)
def test_a_crash_says_how_it_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str, message: str) -> None:
    request = stand_in(tmp_path, monkeypatch, code)
    assert run_child("any", request, "the graph passes", 0.5) == f"the graph passes {message}"
    assert not (tmp_path / FAILURE_FILE).exists()


def test_the_childs_own_reason_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    request = stand_in(tmp_path, monkeypatch, f"open('{tmp_path / FAILURE_FILE}', 'w').write('no room'); exit(1)")
    assert run_child("any", request, "the graph passes", 60) == "no room"


def test_nothing_is_said_of_a_child_that_ends_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run_child("any", stand_in(tmp_path, monkeypatch, "print('done')"), "the graph passes", 60) is None


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
