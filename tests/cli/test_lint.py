from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from lint_cases import TENSORS, write_repository
from packc.cli.lint import lint

GOOD = 'backend: "mine"\n' + TENSORS
WARNED = GOOD + "dynamic_batching { }\n"
BAD = WARNED + "max_batch_size: -1\n"


def test_clean(tmp_path: Path) -> None:
    result = CliRunner().invoke(lint, [str(write_repository(tmp_path, {"m": GOOD}))])
    assert (result.exit_code, result.stdout) == (0, f"{tmp_path}: no errors, no warnings\n")


def test_warnings_alone_are_fine(tmp_path: Path) -> None:
    result = CliRunner().invoke(lint, [str(write_repository(tmp_path, {"m": WARNED}))])
    assert result.exit_code == 0
    assert result.stdout == f"{tmp_path}: no errors, 1 warning\n"
    assert "m/config.pbtxt:4:1: warning: it does nothing: max_batch_size is 0" in result.stderr


def test_errors(tmp_path: Path) -> None:
    result = CliRunner().invoke(lint, [str(write_repository(tmp_path, {"m": BAD}))])
    assert result.exit_code == 1
    assert result.stdout == f"{tmp_path}: 1 error, no warnings\n"


def test_json(tmp_path: Path) -> None:
    result = CliRunner().invoke(lint, [str(write_repository(tmp_path, {"m": BAD})), "--json"])
    assert result.exit_code == 1
    document = json.loads(result.stdout)
    assert document["schema"] == 1
    assert document["repository"] == str(tmp_path)
    assert document["diagnostics"] == [
        {
            "severity": "error",
            "message": "max_batch_size is negative",
            "file": str(tmp_path / "m/config.pbtxt"),
            "line": 5,
            "column": 17,
            "hint": "0 means that the model does not batch",
        }
    ]


@pytest.mark.parametrize("given", ["tiny", "tiny/cpu", "tiny/cpu/model_repository"])
def test_packages_are_found(tmp_path: Path, given: str) -> None:
    package = tmp_path / "tiny/cpu"
    write_repository(package / "model_repository", {"m": GOOD})
    (package / "manifest.json").write_text("{}")
    result = CliRunner().invoke(lint, [str(tmp_path / given)])
    assert (result.exit_code, result.stdout) == (0, f"{package / 'model_repository'}: no errors, no warnings\n")
