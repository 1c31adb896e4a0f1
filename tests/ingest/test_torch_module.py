from __future__ import annotations

import logging
import sys
from pathlib import Path

import pytest

from packc.errors import SourceError
from packc.ingest.torch_module import FACTORY, inspect_factory
from packc.spec.model import ModelSection


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package whose code must not run: it fails when it is imported."""
    folder = tmp_path / "acme_models"
    folder.mkdir()
    (folder / "__init__.py").write_text("raise RuntimeError('imported')\n")
    (folder / "nets.py").write_text("raise RuntimeError('imported')\n\ndef make_net():\n    ...\n")
    monkeypatch.chdir(tmp_path)
    return folder


def inspect(location: str) -> object:
    return inspect_factory(location, ModelSection(name="m", source=location))


def test_found_without_running_it(package: Path) -> None:
    info = inspect_factory("acme_models.nets:make_net", ModelSection(name="m", source="acme_models.nets:make_net"))
    assert (info.origin, info.task, info.parameters) == ("torch", "tensors", 0)
    assert "acme_models" not in sys.modules


@pytest.mark.parametrize("changed", ["nets.py", "layers/blocks.py", "weights/net.pt"])
def test_fingerprint_is_that_of_its_whole_package(package: Path, changed: str) -> None:
    section = ModelSection(name="m", source="acme_models.nets:make_net")
    for name in ("layers", "weights", "__pycache__"):
        (package / name).mkdir()
    before = inspect_factory(section.source, section).fingerprint
    (package / "__pycache__" / "nets.pyc").touch()
    (package.parent / "unrelated.py").touch()
    assert inspect_factory(section.source, section).fingerprint == before
    with (package / changed).open("a") as file:
        file.write("WIDTH = 3\n")
    assert inspect_factory(section.source, section).fingerprint != before


def test_fingerprint_of_a_single_module_has_the_weights_beside_it(
    package: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = package.parent
    (folder / "alone.py").write_text("def make_net():\n    ...\n")
    section = ModelSection(name="m", source="alone:make_net")
    before = inspect_factory(section.source, section).fingerprint
    (folder / "notes.md").touch()
    assert inspect_factory(section.source, section).fingerprint == before
    (folder / "alone.safetensors").write_bytes(b"weights")
    with caplog.at_level(logging.INFO):
        assert inspect_factory(section.source, section).fingerprint != before
    assert f"all code and weights in {folder} count as part of alone:make_net" in caplog.text
    assert f"loads from outside {folder} is not noticed" in caplog.text


def test_syntax_error(package: Path) -> None:
    (package / "nets.py").write_text("def make_net(:\n")
    with pytest.raises(SourceError, match=r"nets\.py:1: "):
        inspect("acme_models.nets:make_net")


@pytest.mark.parametrize(
    ("text", "is_factory"), [("a:f", True), ("a.b.c:f", True), ("a/b", False), ("a:b:c", False), ("a.onnx", False)]
)
def test_form(text: str, is_factory: bool) -> None:
    assert (FACTORY.fullmatch(text) is not None) == is_factory
