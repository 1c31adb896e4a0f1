from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from packc.errors import SourceError
from packc.ingest.load_factory import load_factory
from packc.ingest.source import SourceInfo
from packc.ingest.torch_module import inspect_factory
from packc.spec.model import ModelSection
from packc.tensors import TensorSpec

FACTORIES = """
import torch

class Net(torch.nn.Module):
    def forward(self, a, b):
        return {"sum": a + b, "difference": a - b}

def make_net():
    return Net(), {"a": torch.ones(1, 3), "b": torch.ones(1, 3)}

def make_identity():
    return torch.nn.Identity(), {"input": torch.ones(4, 2)}

def make_module_only():
    return Net()

def make_uneven():
    return Net(), {"a": torch.ones(1, 3), "b": torch.ones(2, 3)}

def make_stranger():
    return Net(), {"a": torch.ones(1, 3), "c": torch.ones(1, 3)}

def make_error():
    raise RuntimeError("no weights here")
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    (tmp_path / "tiny_factories.py").write_text(FACTORIES)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield tmp_path
    sys.modules.pop("tiny_factories", None)


def look(factory: str) -> SourceInfo:
    location = f"tiny_factories:{factory}"
    return inspect_factory(location, ModelSection(name="m", source=location))


def test_dict_of_outputs(folder: Path) -> None:
    reference = load_factory(look("make_net"), [str(folder)])
    assert (reference.inputs, reference.outputs) == (("a", "b"), ("sum", "difference"))
    assert reference.read_inputs()[0] == TensorSpec("a", "float32", ("batch", 3))
    answers = reference.answer({"b": np.ones((2, 3), np.float32), "a": np.full((2, 3), 3, np.float32)})
    assert answers["difference"].tolist() == [[2, 2, 2], [2, 2, 2]]


def test_single_output_and_a_wide_example(folder: Path) -> None:
    reference = load_factory(look("make_identity"), [str(folder)])
    assert reference.outputs == ("output",)
    assert reference.example["input"].shape == (4, 2)


@pytest.mark.parametrize(
    ("factory", "message"),
    [
        ("make_module_only", r"must return \(nn.Module, dict of example tensors\); it returned Net"),
        ("make_uneven", r"differ in dimension 0, the batch: \[1, 2\]"),
        ("make_stranger", "the module fails on its example inputs: TypeError: .*unexpected keyword argument 'c'"),
        ("make_error", "failed: RuntimeError: no weights here"),
    ],
)
def test_bad_factories(factory: str, message: str, folder: Path) -> None:
    with pytest.raises(SourceError, match=message):
        load_factory(look(factory), [str(folder)])
