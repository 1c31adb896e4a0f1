from __future__ import annotations

import json
from pathlib import Path

import pytest

from packc.cli.main import run
from served_packages import write_tensor_package


def test_pushes_into_a_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    package = write_tensor_package(tmp_path / "package")
    assert run(["push", str(package), str(tmp_path / "models")]) == 0
    out = capsys.readouterr().out
    assert f"tiny is version 1 at {tmp_path / 'models'}" in out
    assert "not replayed: a folder answers nothing" in out
    assert run(["push", str(package), str(tmp_path / "models"), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["schema"], document["version"], document["models"]) == (1, 1, [])
    assert run(["push", str(package), str(tmp_path / "models")]) == 0
    out = capsys.readouterr().out
    assert f"tiny is version 1 at {tmp_path / 'models'}, as it was before" in out
    assert "sent      nothing: these very files are there" in out


def test_a_failed_push_exits_with_6(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    package = write_tensor_package(tmp_path / "package")
    (package / "model_repository" / "tiny" / "1" / "model.onnx").write_bytes(b"")
    assert run(["push", str(package), str(tmp_path / "models")]) == 6
    assert "model.onnx was changed after it was built" in capsys.readouterr().err
    assert not (tmp_path / "models").exists()
    assert run(["push", str(write_tensor_package(tmp_path / "good")), "http://127.0.0.1:9"]) == 6
    assert "no server answers at http://127.0.0.1:9" in capsys.readouterr().err


def test_a_wrong_command_line_exits_with_2(tmp_path: Path) -> None:
    assert run(["push", str(tmp_path), "models"]) == 2
    assert run(["push", str(write_tensor_package(tmp_path / "package")), "ftp://host"]) == 2
