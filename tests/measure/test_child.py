from __future__ import annotations

import json

import pytest

from packc.errors import PackError
from packc.measure import child
from packc.measure.child import run_child


def test_a_child_answers_what_it_reads() -> None:
    assert json.loads(run_child("json.tool", b"[2, 3]", {"COLUMNS": "80"})) == [2, 3]


def test_a_failure_is_told_in_one_line() -> None:
    with pytest.raises(PackError, match=r"^json.tool ended with status 1: .*Expecting value"):
        run_child("json.tool", b"nonsense")


def test_a_child_that_hangs_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child, "TIME_LIMIT_S", 0.01)
    with pytest.raises(PackError, match=r"took more than 0\.01 s"):
        run_child("json.tool", b"[]")
