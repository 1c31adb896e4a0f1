from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from packc.errors import SourceError
from packc.ingest.parity import Probe, compare_export, draw_like, make_probes
from packc.ingest.reference import OnnxReference, TorchReference
from packc.ingest.source import SourceInfo, TextPreprocessing
from packc.samples import Array, Sample


@dataclass(frozen=True)
class Constant:
    """An export that answers the same whatever it is asked."""

    value: Array
    outputs: tuple[str, ...] = ("y",)

    def answer(self, inputs: Sample) -> dict[str, Array]:
        return {"y": self.value}


def probe(expected: list[float]) -> Probe:
    return Probe("batch 1", {"x": np.zeros(1)}, {"y": np.array(expected)})


def test_probes_cover_padding_and_the_longest_text(bert_reference: TorchReference, bert_info: SourceInfo) -> None:
    probes = make_probes(bert_reference, bert_info)
    assert [p.inputs["input_ids"].shape for p in probes] == [(1, 8), (3, 12), (1, 64)]
    assert probes[1].inputs["attention_mask"].sum(1).tolist() == [12, 7, 3]
    assert (probes[1].inputs["input_ids"][2, 3:] == 0).all()


def test_export_equals_its_source(bert_reference: TorchReference, bert_info: SourceInfo, bert_graph: Path) -> None:
    error = compare_export(OnnxReference(bert_graph), make_probes(bert_reference, bert_info))
    assert 0 < error < 1e-5


def test_difference_is_relative_to_the_magnitude() -> None:
    assert compare_export(Constant(np.array([1000.0, 1000.5])), [probe([1000.0, 1000.0])]) == 0.5
    with pytest.raises(SourceError, match=r"y at batch 1 is off by 0.5, 0.005 of its magnitude \(0.001 is allowed\)"):
        compare_export(Constant(np.array([100.0, 100.5])), [probe([100.0, 100.0])])


def test_nan_is_a_difference() -> None:
    with pytest.raises(SourceError, match="is off by nan"):
        compare_export(Constant(np.array([np.nan])), [probe([1.0])])


def test_shape_is_compared() -> None:
    with pytest.raises(SourceError, match=r"has the shape \[2\], not \[1\]"):
        compare_export(Constant(np.zeros(2)), [probe([0.0])])


@pytest.mark.parametrize("dtype", ["float32", "int64", "uint8", "bool"])
def test_drawn_like_the_example(dtype: str) -> None:
    drawn = draw_like(np.array([0, 1], dtype=dtype), (50, 4), np.random.default_rng(0))
    assert (drawn.shape, str(drawn.dtype)) == ((50, 4), dtype)
    if dtype != "float32":
        assert set(np.unique(drawn)) == {0, 1}


def test_probes_keep_to_a_small_vocabulary(
    bert_reference: TorchReference, bert_info: SourceInfo, tmp_path: Path
) -> None:
    from tokenizers import Tokenizer, models

    assert isinstance(bert_info.preprocessing, TextPreprocessing)
    pieces = ["[PAD]", "[UNK]", *"abcdefghij"]
    small = Tokenizer(models.WordLevel({piece: i for i, piece in enumerate(pieces)}, unk_token="[UNK]"))
    small.save(str(tmp_path / "tokenizer.json"))
    text = replace(bert_info.preprocessing, tokenizer=tmp_path / "tokenizer.json")
    probes = make_probes(bert_reference, replace(bert_info, preprocessing=text))
    assert max(int(np.max(p.inputs["input_ids"])) for p in probes) == len(pieces) - 1
