from __future__ import annotations

import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")

from packc.ingest.inspect import inspect_source
from packc.ingest.load_source import load_source
from packc.spec.model import ModelSection

FACTORY = """
import torch

def make():
    return torch.nn.Identity(), {"input": torch.ones(4, 2)}
"""


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_a_checkpoint_computes_attention_as_it_is_told(tiny_bert_dir: Path, attention: str) -> None:
    info = inspect_source(ModelSection(name="m", source=str(tiny_bert_dir)))
    reference = load_source(info, (), attention)  # type: ignore[arg-type]
    assert reference.module.model.config._attn_implementation == attention
    assert reference.outputs == ("sentence_embedding",)


def test_a_factory_is_looked_for_where_the_caller_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pack_test_identity.py").write_text(FACTORY)
    monkeypatch.chdir(tmp_path)
    info = inspect_source(ModelSection(name="m", source="pack_test_identity:make"))
    monkeypatch.setattr(sys, "path", list(sys.path))
    assert load_source(info, (str(tmp_path),)).inputs == ("input",)
