from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from packc.runtimes import tensorrt_python
from packc.runtimes.tensorrt_python import VARIABLE, find_tensorrt, is_named
from tensorrt_python import write_tensorrt_python


def name(monkeypatch: pytest.MonkeyPatch, value: Path | str) -> None:
    monkeypatch.setenv(VARIABLE, str(value))


def test_the_named_python_is_asked_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = write_tensorrt_python(tmp_path / "trtpy", "10.16.1.11", 10)
    name(monkeypatch, script)
    found = find_tensorrt().found
    assert found is not None
    assert (found.python, found.version, found.dialect, found.is_strongly_typed) == (script, "10.16.1.11", 10, True)
    assert found.reads_newer_graphs
    assert not replace(found, version="9.3.0").reads_newer_graphs
    script.unlink()
    assert find_tensorrt().found is found


def test_without_a_named_one_it_is_this_python_or_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setattr(tensorrt_python, "find_spec", lambda name: None)
    tensorrt_python._look.cache_clear()
    lookup = find_tensorrt()
    assert lookup.found is None
    assert lookup.problem == f"tensorrt is not installed here: install it, or name its Python with {VARIABLE}"
    tensorrt_python._look.cache_clear()


def test_a_name_that_cannot_be_run_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name(monkeypatch, tmp_path / "missing")
    assert "cannot be run" in find_tensorrt().problem


def test_why_it_cannot_be_imported_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wrapper = tmp_path / "python"
    wrapper.write_text(f'#!/bin/sh\nexec {sys.executable} -S "$@"\n')  # without any package
    wrapper.chmod(0o755)
    name(monkeypatch, wrapper)
    assert "cannot import tensorrt and numpy: ModuleNotFoundError: No module named 'numpy'" in find_tensorrt().problem


@pytest.mark.parametrize("answer", ["hello", "{}", "[8, 6]", '["8.6"]', '["", 8]'])
def test_a_program_that_answers_something_else_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: str
) -> None:
    program = tmp_path / "python"
    program.write_text(f"#!/bin/sh\necho '{answer}'\n")
    program.chmod(0o755)
    name(monkeypatch, program)
    assert find_tensorrt().problem == (
        f"{program} ({VARIABLE}) answered something else when it was asked for its TensorRT: is it a Python?"
    )


def test_a_program_that_hangs_is_told_without_what_it_was_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "python"
    program.write_text("#!/bin/sh\nexec sleep 60\n")
    program.chmod(0o755)
    name(monkeypatch, program)
    monkeypatch.setattr(tensorrt_python, "ASK_LIMIT_S", 0.1)
    assert find_tensorrt().problem == (
        f"{program} ({VARIABLE}) did not answer in 0.1 s when it was asked for its TensorRT"
    )


def test_a_program_that_is_no_python_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    silent = tmp_path / "true"
    silent.write_text("#!/bin/sh\n")
    silent.chmod(0o755)
    name(monkeypatch, silent)
    assert find_tensorrt().problem == (
        f"{silent} ({VARIABLE}) answered nothing when it was asked for its TensorRT: is it a Python?"
    )
    assert is_named()


def test_paths_of_this_python_do_not_reach_the_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wrapper = tmp_path / "python"
    wrapper.write_text('#!/bin/sh\necho "[\\"8.6.0${PYTHONPATH}\\", 8]"\n')
    wrapper.chmod(0o755)
    monkeypatch.setenv("PYTHONPATH", "mine")
    name(monkeypatch, wrapper)
    found = find_tensorrt().found
    assert found is not None
    assert found.version == "8.6.0"
