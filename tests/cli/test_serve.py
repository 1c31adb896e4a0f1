from __future__ import annotations

import socket
import sys
from pathlib import Path

import pytest

from gpu_packages import write_fleet, write_measured
from packc.cli.main import run
from packc.errors import MissingError
from packc.server import devices, environment, process
from served_packages import write_text_package


def test_a_port_in_use(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PACK_TRITON_SERVER", sys.executable)
    monkeypatch.setenv("PACK_TRITON_BACKENDS", str(tmp_path))
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert run(["serve", str(write_text_package(tmp_path / "package")), "--http-port", str(port)]) == 2
    assert f"error: port {port} is in use on this machine" in capsys.readouterr().err


def test_a_package_for_a_gpu_installs_nothing_where_there_is_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(devices, "find_gpu", lambda: None)
    monkeypatch.setattr(environment, "require_server", lambda: pytest.fail("a server was looked for"))
    package = write_measured(tmp_path, "l4", 2.0)
    for command in (["serve"], ["verify"], ["bench"]):
        assert run([*command, str(package)]) == 5
        assert "there is no NVIDIA GPU here" in capsys.readouterr().err


def test_a_target_of_a_combined_package_is_told_to_the_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []

    def start(*_: object, **options: object) -> None:
        asked.append(options["config_name"])
        raise MissingError("enough")

    monkeypatch.setattr(process, "start_server", start)
    monkeypatch.setattr(environment, "require_server", lambda: None)
    monkeypatch.setattr(devices, "find_gpu", object)
    package = write_fleet(tmp_path)
    assert run(["serve", str(package), "--target", "t4"]) == 5
    bare = package.rename(tmp_path / "bare") / "model_repository"
    (tmp_path / "bare" / "manifest.json").unlink()
    assert run(["serve", str(bare), "--target", "anything"]) == 5, "nobody knows its targets"
    assert asked == ["t4", "anything"]


def test_a_target_that_a_package_lacks_is_said_before_any_look_for_a_gpu_or_server(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(devices, "find_gpu", lambda: pytest.fail("a GPU was looked for"))
    monkeypatch.setattr(environment, "require_server", lambda: pytest.fail("a server was looked for"))
    package, plain = write_fleet(tmp_path), write_text_package(tmp_path / "plain")
    for command in ("serve", "verify", "bench"):
        for folder in (package, package / "model_repository"):
            assert run([command, str(folder), "--target", "t5"]) == 2
            assert f"{package} has no target 't5'\n\nhint: it is for h200, l4, t4" in capsys.readouterr().err
        assert run([command, str(plain), "--target", "t4"]) == 2
        assert "it is for one target, here" in capsys.readouterr().err
