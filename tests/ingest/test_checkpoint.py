from __future__ import annotations

from pathlib import Path

import pytest

from checkpoints import write_bert_folder, write_sentence_files, write_vit_folder
from packc.ingest.checkpoint import inspect_checkpoint
from packc.ingest.source import Geometry, SourceInfo, TextPreprocessing
from packc.spec.model import ModelSection


def inspect(folder: Path, **section: object) -> SourceInfo:
    return inspect_checkpoint(folder, ModelSection.model_validate({"name": "m", "source": str(folder), **section}))


def test_plain_encoder(tmp_path: Path) -> None:
    info = inspect(write_bert_folder(tmp_path / "bert"))
    assert (info.origin, info.task, info.architecture) == ("huggingface", "feature-extraction", "BertModel")
    assert info.geometry == Geometry(layers=2, heads=2, hidden=8, ffn=16)
    assert (info.pooling, info.normalize, info.labels) == ("none", False, ())
    assert (info.parameters, info.weights_mib) == (25, 100 / 2**20)


def test_sentence_vectors_of_a_plain_encoder_are_means(tmp_path: Path) -> None:
    assert inspect(write_bert_folder(tmp_path / "bert"), task="sentence-similarity").pooling == "mean"


def test_sentence_transformers_folder(tmp_path: Path) -> None:
    folder = write_sentence_files(
        write_bert_folder(tmp_path / "st"), "Transformer", "Pooling", "Normalize", pooling={"pooling_mode": "cls"}
    )
    info = inspect(folder)
    assert (info.task, info.pooling, info.normalize) == ("sentence-similarity", "cls", True)
    assert isinstance(info.preprocessing, TextPreprocessing)
    assert info.preprocessing.max_length == 32


def test_token_vectors_of_a_sentence_encoder_are_not_normalised(tmp_path: Path) -> None:
    folder = write_sentence_files(write_bert_folder(tmp_path / "st"), "Transformer", "Pooling", "Normalize")
    info = inspect(folder, task="feature-extraction", pooling="none")
    assert (info.pooling, info.normalize) == ("none", False)


def test_image_classifier(tmp_path: Path) -> None:
    info = inspect(write_vit_folder(tmp_path / "vit"))
    assert (info.task, info.labels) == ("image-classification", ("cat", "dog"))


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json", "1_Pooling/config.json"])
def test_fingerprint_covers_what_decides_the_answers(name: str, tmp_path: Path) -> None:
    folder = write_sentence_files(write_bert_folder(tmp_path / "st"), "Transformer", "Pooling")
    before = inspect(folder).fingerprint
    (folder / "README.md").write_text("words")
    assert inspect(folder).fingerprint == before
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content + b"\n")
    assert inspect(folder).fingerprint != before
