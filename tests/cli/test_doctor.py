from __future__ import annotations

import json
from pathlib import Path

import pytest

from packc import doctor
from packc.cli.main import run
from packc.extras import Library
from packc.runtimes.tensorrt_python import VARIABLE
from tensorrt_python import write_tensorrt_python


@pytest.fixture(autouse=True)
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An installation with one outdated library and no server."""
    libraries = (Library("torch", "cpu", ">=2.11", "2.9.0"), Library("tritonclient", "server", ">=2.51", "2.60"))
    monkeypatch.setattr(doctor, "list_libraries", lambda: libraries)
    monkeypatch.setattr(doctor, "find_server", lambda: None)


def test_says_what_is_missing_and_exits_with_5(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["doctor"]) == 5
    out = capsys.readouterr().out
    assert "cpu: needs torch >=2.11, found 2.9.0; a Triton server\n" in out
    assert "\n  pip install 'packc[cpu]'\n  pack doctor --install server\n" in out
    assert "packc[server]'" not in out


def test_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["doctor", "--json"]) == 5
    document = json.loads(capsys.readouterr().out)
    assert document["ready"] is False
    assert document["kinds"]["cpu"]["commands"] == ["pip install 'packc[cpu]'", "pack doctor --install server"]
    assert [library["ready"] for library in document["libraries"]] == [False, True]
    assert document["host"]["id"] == "host"


def test_ready_is_0(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(doctor, "list_libraries", lambda: (Library("torch", "cpu", ">=2.11", "2.13.0+cpu"),))
    monkeypatch.setattr(doctor, "find_server", lambda: "/opt/tritonserver/bin/tritonserver")
    assert run(["doctor"]) == 0
    assert "cpu: ready" in capsys.readouterr().out


def test_install_takes_only_what_it_knows(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["doctor", "--install", "gpu"]) == 2
    assert "server" in capsys.readouterr().err


def test_a_python_without_tensorrt_is_told_where_it_was_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(doctor, "find_host_gpu", lambda: None)
    monkeypatch.delenv(VARIABLE, raising=False)
    run(["doctor"])
    assert "\ntensorrt " not in capsys.readouterr().out
    monkeypatch.setenv(VARIABLE, "/nowhere/python")
    run(["doctor"])
    assert "\ntensorrt none: PACK_TENSORRT_PYTHON names /nowhere/python, which" in capsys.readouterr().out


def test_the_python_that_has_tensorrt_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    python = write_tensorrt_python(tmp_path / "trtpy")
    monkeypatch.setenv(VARIABLE, str(python))
    run(["doctor"])
    assert f"\ntensorrt 8.6.0 in {python}\n" in capsys.readouterr().out
    run(["doctor", "--json"])
    told = json.loads(capsys.readouterr().out)["tensorrt"]
    assert told == {"version": "8.6.0", "python": str(python), "problem": None}
