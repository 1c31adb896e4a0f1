"""What runs leave, and what of it another run may replace; test_runner.py has whole runs."""

from __future__ import annotations

import ast
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from packc.jobs import result_files
from packc.jobs.result_files import has_good_result, hash_file, remove_result, write_result


def leave_result(bundle: Path, **changes: Any) -> None:
    """A good result with answers, as a run leaves it, but for the changes."""
    (bundle / "job.json").write_text("{}")
    (bundle / ".answers.npz.part").write_text("answers")
    digests = {name: hash_file(bundle / file) for name, file in (("job", "job.json"), ("answers", ".answers.npz.part"))}
    told = {"job_sha256": digests["job"], "answers": "answers.npz", "answers_sha256": digests["answers"]}
    write_result(bundle, {"status": "ok", **told, **changes})


def list_names(bundle: Path) -> set[str]:
    return {path.name for path in bundle.iterdir()}


def test_a_result_has_its_answers_beside_it(tmp_path: Path) -> None:
    leave_result(tmp_path)
    assert list_names(tmp_path) == {"job.json", "result.json", "answers.npz"}
    assert has_good_result(tmp_path)
    leave_result(tmp_path, status="failed", answers=None)
    assert list_names(tmp_path) == {"job.json", "result.json"}, "no answers of an earlier run"
    remove_result(tmp_path)
    assert list_names(tmp_path) == {"job.json"}


@pytest.mark.parametrize("name", ["answers.npz", ".result.json.part"])
def test_an_old_result_never_stands_beside_new_answers(tmp_path: Path, name: str) -> None:
    """A folder is where a file is to be written: the new answers cannot be put in place, or the result after them."""
    leave_result(tmp_path)
    (tmp_path / name).unlink(missing_ok=True)
    (tmp_path / name).mkdir()
    with pytest.raises(IsADirectoryError):
        leave_result(tmp_path)
    assert not (tmp_path / "result.json").exists()


@pytest.mark.parametrize("changes", [{"status": "failed"}, {"job_sha256": "0"}, {"answers_sha256": "0"}])
def test_a_result_that_failed_or_is_of_other_files_is_not_good(tmp_path: Path, changes: dict[str, str]) -> None:
    leave_result(tmp_path, **changes)
    assert not has_good_result(tmp_path)


@pytest.mark.parametrize("text", [None, "", "[]", "1", "{}", json.dumps({"status": "ok"})])
def test_what_cannot_be_read_is_not_good(tmp_path: Path, text: str | None) -> None:
    leave_result(tmp_path)
    (tmp_path / "result.json").unlink()
    if text is not None:
        (tmp_path / "result.json").write_text(text)
    assert not has_good_result(tmp_path)


def test_a_result_without_its_answers_is_not_good(tmp_path: Path) -> None:
    leave_result(tmp_path)
    (tmp_path / "answers.npz").unlink()
    assert not has_good_result(tmp_path)


def test_it_needs_no_package() -> None:
    tree = ast.parse(Path(result_files.__file__).read_text("utf-8"), feature_version=(3, 10))
    found = {name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names}
    found |= {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert found <= sys.stdlib_module_names
