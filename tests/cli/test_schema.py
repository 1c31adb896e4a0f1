from __future__ import annotations

from pathlib import Path

import pytest

from packc.cli.main import run
from packc.spec.schema import render_schema


def test_prints_the_schema(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["schema"]) == 0
    assert capsys.readouterr().out == render_schema()


def test_check_says_whether_a_file_is_the_schema(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "schema.json"
    assert run(["schema", "--check", str(path)]) == 1
    path.write_text(render_schema())
    assert run(["schema", "--check", str(path)]) == 0
    path.write_text(render_schema().replace("latency", "latenzy"))
    assert run(["schema", "--check", str(path)]) == 1
    assert f"hint: pack schema > {path}" in capsys.readouterr().err
