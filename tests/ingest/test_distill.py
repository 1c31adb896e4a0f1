from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from models import make_sentences
from packc.cache import Cache
from packc.errors import SourceError
from packc.ingest import distill
from packc.ingest.distill import describe_training, distill_student
from packc.ingest.request import Request, write_training
from packc.ingest.source import SourceInfo
from packc.ingest.student import Training
from packc.samples import RawSamples
from packc.spec.optimize import DistillSection

TEXTS = RawSamples("texts.jsonl", texts=tuple(make_sentences(40)))


def test_a_student_is_an_exported_source_of_its_own(
    bert_info: SourceInfo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    runs: list[Request] = []
    real = distill.run_worker

    def run(request: Request) -> None:
        runs.append(request)
        real(request)

    monkeypatch.setattr(distill, "run_worker", run)
    section, cache = DistillSection(layers=1, steps=5), Cache(tmp_path)
    student = distill_student(bert_info, section, TEXTS, cache)
    with caplog.at_level("INFO"):
        assert distill_student(bert_info, section, TEXTS, cache) == student
    assert caplog.messages[0] == f"student of 1 of {bert_info.geometry.layers} layers: trained before"
    assert len(runs) == 1
    assert student.source.info.geometry is not None
    assert bert_info.geometry is not None
    assert (student.source.info.geometry.layers, bert_info.geometry.layers) == (1, 2)
    assert (student.source.answer, student.source.parity_max_error < 1e-4) == ("sentence_embedding", True)
    assert (student.training.layers, student.training.of_layers, student.training.steps) == (1, 2, 5)
    session = onnxruntime.InferenceSession(student.source.graph)
    ids = np.full((2, 4), 9)
    (vectors,) = session.run(None, {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": 0 * ids})
    assert vectors.shape == (2, 32)


def test_a_student_that_was_cut_short_is_trained_anew(
    bert_info: SourceInfo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = Training(1, 2, 5, 36, 1.0, 0.5, 1.0, "texts.jsonl", 5)
    trainings = [replace(whole, steps=3), whole]

    def run(request: Request) -> None:
        write_training(request.export, trainings.pop(0))

    monkeypatch.setattr(distill, "run_worker", run)
    monkeypatch.setattr(distill, "read_source", lambda folder, info: folder)
    section, cache = DistillSection(layers=1, steps=5), Cache(tmp_path)
    cut, *others = (distill_student(bert_info, section, TEXTS, cache) for _ in range(3))
    assert cut.training.is_cut
    assert Path(str(cut.source)).is_dir(), "this build goes on with it"
    assert [student.training.is_cut for student in others] == [False, False]
    assert trainings == []


def test_what_cannot_be_taught_is_said(bert_info: SourceInfo, tmp_path: Path) -> None:
    assert bert_info.geometry is not None
    odd = replace(bert_info, geometry=replace(bert_info.geometry, layers=7))
    with pytest.raises(SourceError, match="one list of 7 layers"):
        distill_student(odd, DistillSection(layers=3), TEXTS, Cache(tmp_path))


def test_a_training_in_words() -> None:
    done = Training(3, 6, 300, 1540, 1.306, 0.2149, 90.0, "texts.jsonl", 300)
    expected = "a student of 3 of 6 layers, trained in 300 steps on 1,540 texts: loss 1.31 to 0.21 on texts held out"
    assert describe_training(done) == expected
    cut = describe_training(replace(done, of_steps=400))
    assert cut == f"{expected}; distill.max_minutes ended it before its 400 steps"
