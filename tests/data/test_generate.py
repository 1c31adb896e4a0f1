from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from checkpoints import write_bert_folder, write_vit_folder
from models import make_tiny_onnx, write_tokenizer
from packc.data.generate import IMAGES, TEXTS, WORDS, generate_samples
from packc.data.workload import count_tokens
from packc.ingest.inspect import inspect_source
from packc.ingest.source import SourceInfo, TextPreprocessing
from packc.samples import RawSamples
from packc.spec.model import ModelSection, Range, WorkloadSection


def look(source: Path) -> SourceInfo:
    return inspect_source(ModelSection(name="m", source=str(source)))


def workload(typical: int) -> WorkloadSection:
    return WorkloadSection(sequence=Range(typical=typical, max=4 * typical))


def test_texts_follow_the_seed(tmp_path: Path) -> None:
    info = look(write_bert_folder(tmp_path / "bert"))
    first = generate_samples(info, workload(32))
    assert first == generate_samples(info, workload(32))
    assert first != generate_samples(info, workload(32), seed=1)
    assert first.is_generated
    assert len(set(first.texts)) == TEXTS


@pytest.mark.parametrize("typical", [8, 32, 128])
def test_lengths_lie_around_the_typical_one(typical: int, tmp_path: Path) -> None:
    info = look(write_bert_folder(tmp_path / "bert"))
    words = [len(text.split()) for text in generate_samples(info, workload(typical)).texts]
    assert 0.8 * typical < np.median(words) + 2 < 1.2 * typical
    assert len(set(words)) > 4


def test_words_are_known_to_a_real_tokenizer(minilm_dir: Path) -> None:
    how = TextPreprocessing(minilm_dir / "tokenizer.json", 256, 0, ("input_ids",))
    assert set(count_tokens(WORDS, how)) == {3}


def test_images_are_made_once(tmp_path: Path) -> None:
    info = look(write_vit_folder(tmp_path / "vit"))
    first = generate_samples(info, WorkloadSection())
    assert len(first.images) == IMAGES
    assert len({image.read_bytes() for image in first.images}) == IMAGES
    assert generate_samples(info, WorkloadSection()) == first
    assert generate_samples(info, WorkloadSection(), seed=1) != first


def test_tensors_are_left_to_ingest(tmp_path: Path) -> None:
    info = look(make_tiny_onnx(tmp_path / "tiny.onnx"))
    assert generate_samples(info, WorkloadSection()) == RawSamples("generated")


def test_tiny_tokenizer(tmp_path: Path) -> None:
    write_tokenizer(tmp_path / "tokens")
    how = TextPreprocessing(tmp_path / "tokens" / "tokenizer.json", 6, 0, ("input_ids",))
    assert count_tokens(["the red cat", "a dog\ta bird", "cat " * 50], how) == [5, 6, 6]
