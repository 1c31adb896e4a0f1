from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from checkpoints import write_bert_folder, write_vit_folder
from models import make_tiny_onnx, write_jsonl, write_smooth_images
from packc.data.read import mark_pairs, read_samples
from packc.errors import DataError
from packc.ingest.inspect import inspect_source
from packc.ingest.source import SourceInfo, TextPreprocessing
from packc.spec.model import ModelSection


def look(source: Path) -> SourceInfo:
    return inspect_source(ModelSection(name="m", source=str(source)))


@pytest.fixture
def text_info(tmp_path: Path) -> SourceInfo:
    return replace(look(write_bert_folder(tmp_path / "bert")), labels=("no", "yes"))


def test_each_kind_of_model_reads_its_own(text_info: SourceInfo, tmp_path: Path) -> None:
    texts = write_jsonl(tmp_path / "eval.jsonl", [{"text": "a", "label": "yes"}, {"text": "b", "label": 0}])
    assert read_samples(texts, text_info).labels == ("yes", "0")
    images = write_smooth_images(tmp_path / "images" / "cat", 2).parent
    assert read_samples(images, look(write_vit_folder(tmp_path / "vit"))).labels == ("cat", "cat")
    np.savez(tmp_path / "eval.npz", features=np.ones((2, 8)))
    assert read_samples(tmp_path / "eval.npz", look(make_tiny_onnx(tmp_path / "tiny.onnx"))).tensors is not None


def test_another_kind_is_refused(text_info: SourceInfo, tmp_path: Path) -> None:
    (tmp_path / "eval.npz").write_bytes(b"")
    with pytest.raises(DataError, match=r"the model reads text, so its data are a \.jsonl or \.csv file"):
        read_samples(tmp_path / "eval.npz", text_info)


def test_a_folder_is_no_file_of_texts(text_info: SourceInfo, tmp_path: Path) -> None:
    (tmp_path / "eval.jsonl").mkdir()
    with pytest.raises(DataError, match=r"eval\.jsonl: the model reads text, so its data are a \.jsonl or \.csv file"):
        read_samples(tmp_path / "eval.jsonl", text_info)


def test_missing_file(text_info: SourceInfo, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"there are no data at .*nothing\.jsonl"):
        read_samples(tmp_path / "nothing.jsonl", text_info)


@pytest.mark.parametrize("label", ["maybe", 2])
def test_labels_must_be_classes(label: object, text_info: SourceInfo, tmp_path: Path) -> None:
    rows = [{"text": "a", "label": "yes"}, {"text": "b", "label": label}]
    with pytest.raises(DataError, match=f"1 label is no class of the model: '{label}'") as caught:
        read_samples(write_jsonl(tmp_path / "eval.jsonl", rows), text_info)
    assert "its classes are no, yes" in str(caught.value.diagnostics[0].hint)


def test_texts_are_pairs_when_the_data_hold_some(text_info: SourceInfo, tmp_path: Path) -> None:
    plain = read_samples(write_jsonl(tmp_path / "a.jsonl", [{"text": "a\tb"}]), text_info)
    pairs = read_samples(write_jsonl(tmp_path / "b.jsonl", [{"text": "a"}, {"text": "a", "text_pair": "b"}]), text_info)
    found = [mark_pairs(text_info, *samples).preprocessing for samples in ((plain, None), (plain, pairs))]
    assert [how.pairs for how in found if isinstance(how, TextPreprocessing)] == [False, True]
