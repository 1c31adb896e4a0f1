from __future__ import annotations

from pathlib import Path

import pytest

from models import make_tiny_onnx
from packc.errors import SourceError
from packc.package.artifact import artifact_files


def test_onnx_brings_the_external_data_that_it_names(tmp_path: Path) -> None:
    model = make_tiny_onnx(tmp_path / "int8.onnx", external_data=True)
    (tmp_path / "notes.txt").touch()
    assert artifact_files(model) == {"model.onnx": model, "int8.onnx.data": tmp_path / "int8.onnx.data"}


def test_missing_external_data(tmp_path: Path) -> None:
    model = make_tiny_onnx(tmp_path / "a.onnx", external_data=True)
    (tmp_path / "a.onnx.data").unlink()
    with pytest.raises(SourceError, match=r"keeps weights in 'a.onnx.data', which is not beside it"):
        artifact_files(model)


def test_other_formats_bring_the_files_of_their_stem(tmp_path: Path) -> None:
    for name in ("graph.xml", "graph.bin", "other.bin"):
        (tmp_path / name).touch()
    assert artifact_files(tmp_path / "graph.xml") == {
        "model.bin": tmp_path / "graph.bin",
        "model.xml": tmp_path / "graph.xml",
    }
