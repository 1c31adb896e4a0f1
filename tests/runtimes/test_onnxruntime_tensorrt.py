from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from packc.runtimes import onnxruntime_tensorrt
from packc.runtimes.onnxruntime_tensorrt import PROVIDER_FILE, find_problem, write_shapes
from packc.tensors import InputRange

IDS = InputRange("ids", (1, 1), ((1, 128), (8, 128)), (8, 128))
FIXED = InputRange("scale", (1,), ((1,), (1,)), (1,))


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An onnxruntime with the library of a provider that links libnvinfer.so.10; the loader opens what it is asked."""
    library = tmp_path / PROVIDER_FILE
    library.parent.mkdir()
    library.write_bytes(b"\x7fELF\0libnvinfer.so.10\0libnvinfer_plugin.so.10\0")
    spec = SimpleNamespace(origin=str(tmp_path / "__init__.py"))
    monkeypatch.setattr(onnxruntime_tensorrt, "find_spec", lambda name: spec)
    monkeypatch.setattr(subprocess, "run", lambda command, **options: None)
    find_problem.cache_clear()
    yield tmp_path
    find_problem.cache_clear()


def test_tensorrt_is_there_where_the_loader_finds_it(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(subprocess, "run", lambda command, **options: asked.append(command[-1]))
    assert find_problem() == ""
    assert asked == ["libnvinfer.so.10"]


def test_the_library_that_is_missing_is_named(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(command: list[str], **options: Any) -> None:
        raise subprocess.CalledProcessError(1, command)

    monkeypatch.setattr(subprocess, "run", fail)
    assert find_problem().startswith("onnxruntime's provider for TensorRT needs libnvinfer.so.10, which the loader")


@pytest.mark.parametrize("installed", [True, False])
def test_an_onnxruntime_without_the_provider(package: Path, monkeypatch: pytest.MonkeyPatch, installed: bool) -> None:
    (package / PROVIDER_FILE).unlink()
    if not installed:
        monkeypatch.setattr(onnxruntime_tensorrt, "find_spec", lambda name: None)
    assert find_problem() == "this onnxruntime comes without a provider for TensorRT"


def test_the_loader_is_asked_in_a_process_of_its_own(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    spec = SimpleNamespace(origin=str(package / "__init__.py"))
    monkeypatch.setattr(onnxruntime_tensorrt, "find_spec", lambda name: spec)
    (package / PROVIDER_FILE).write_bytes(b"\x7fELF\0libnvinfer.so.99999\0")
    assert "libnvinfer.so.99999" in find_problem()


def test_the_range_of_every_input_is_told() -> None:
    assert write_shapes([IDS, FIXED]) == {
        "least_shapes": "ids:1x1,scale:1",
        "usual_shapes": "ids:1x128,scale:1",
        "most_shapes": "ids:8x128,scale:1",
    }
    assert write_shapes([FIXED]) == {}
