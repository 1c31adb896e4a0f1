from __future__ import annotations

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


def test_fingerprint_is_that_of_its_file(package: Path) -> None:
    section = ModelSection(name="m", source="acme_models.nets:make_net")
    before = inspect_factory(section.source, section).fingerprint
    with (package / "nets.py").open("a") as file:
        file.write("WIDTH = 3\n")
    assert inspect_factory(section.source, section).fingerprint != before


def test_syntax_error(package: Path) -> None:
    (package / "nets.py").write_text("def make_net(:\n")
    with pytest.raises(SourceError, match=r"nets\.py:1: "):
        inspect("acme_models.nets:make_net")


@pytest.mark.parametrize(
    ("text", "is_factory"), [("a:f", True), ("a.b.c:f", True), ("a/b", False), ("a:b:c", False), ("a.onnx", False)]
)
def test_form(text: str, is_factory: bool) -> None:
    assert (FACTORY.fullmatch(text) is not None) == is_factory
