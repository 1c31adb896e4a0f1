from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from models import make_sentences, make_tiny_bert
from packc.errors import DataError
from packc.ingest.inspect import inspect_source
from packc.ingest.load_checkpoint import load_checkpoint
from packc.ingest.model_inputs import make_inputs
from packc.ingest.reference import TorchReference
from packc.ingest.source import SourceInfo
from packc.ingest.student import Student, StudentPlan, make_student
from packc.ingest.train import BATCH, collate, draw_batches, train_student
from packc.samples import RawSamples, Sample
from packc.spec.model import ModelSection

PLAN = StudentPlan(1, 2, 30, 60.0, "texts.jsonl")


def read_lessons(info: SourceInfo, reference: TorchReference, count: int = 80) -> list[Sample]:
    texts = RawSamples("texts.jsonl", texts=tuple(make_sentences(count)))
    return list(make_inputs(texts, info, reference.read_inputs(), 0))


def train(
    info: SourceInfo, teacher: TorchReference, plan: StudentPlan = PLAN, clock: Iterator[float] | None = None
) -> tuple[Student, float, float, int]:
    student = make_student(teacher, plan.layers, plan.of_layers)
    ticks = clock or itertools.repeat(0.0)
    done = train_student(student, teacher, info, read_lessons(info, teacher), plan, lambda: next(ticks))
    assert (done.layers, done.of_layers, done.samples, done.data) == (1, 2, 72, "texts.jsonl")
    assert (done.of_steps, done.is_cut) == (30, done.steps < 30)
    return student, done.loss_before, done.loss_after, done.steps


def test_training_brings_a_student_nearer_its_teacher(bert_info: SourceInfo, bert_reference: TorchReference) -> None:
    before = {name: weights.clone() for name, weights in bert_reference.module.state_dict().items()}
    student, loss_before, loss_after, steps = train(bert_info, bert_reference)
    assert steps == 30
    assert loss_after < 0.8 * loss_before
    for name, weights in bert_reference.module.state_dict().items():
        assert torch.equal(weights, before[name])
    assert all(
        torch.equal(a, b)
        for a, b in zip(
            student.reference.module.model.embeddings.parameters(),
            bert_reference.module.model.embeddings.parameters(),
            strict=True,
        )
    )
    again, _, repeated, _ = train(bert_info, bert_reference)
    assert repeated == loss_after
    assert torch.equal(*(s.layers[0].output.dense.weight for s in (student, again)))


@pytest.mark.parametrize("head", ["SequenceClassification", "TokenClassification", "QuestionAnswering"])
def test_logits_are_learnt_as_distributions(head: str, tmp_path: Path) -> None:
    info = inspect_source(ModelSection(name="m", source=str(make_tiny_bert(tmp_path / "m", head=head))))
    _, loss_before, loss_after, _ = train(info, load_checkpoint(info))
    assert 0 < loss_after < loss_before


def test_training_ends_with_its_time(bert_info: SourceInfo, bert_reference: TorchReference) -> None:
    *_, steps = train(bert_info, bert_reference, clock=itertools.count(0.0, 25.0))
    assert steps == 3


def test_a_few_texts_are_judged_on_one_that_is_held_out(bert_info: SourceInfo, bert_reference: TorchReference) -> None:
    student = make_student(bert_reference, 1, 2)
    lessons = read_lessons(bert_info, bert_reference, 3)
    done = train_student(student, bert_reference, bert_info, lessons, PLAN)
    assert done.samples == 2
    assert done.loss_before != done.loss_after


def test_one_text_teaches_nothing(bert_info: SourceInfo, bert_reference: TorchReference) -> None:
    student = make_student(bert_reference, 1, 2)
    with pytest.raises(DataError, match=r"texts\.jsonl has one text, and a student takes 2 at least"):
        train_student(student, bert_reference, bert_info, read_lessons(bert_info, bert_reference, 1), PLAN)


def test_padding_is_of_the_tokenizers_own_and_masked(bert_info: SourceInfo) -> None:
    long, short = ({"input_ids": np.full((1, n), 7), "attention_mask": np.ones((1, n), np.int64)} for n in (5, 3))
    batch = collate([long, short], bert_info)
    assert batch["input_ids"].tolist()[1] == [7, 7, 7, 0, 0]
    assert batch["attention_mask"].tolist() == [[1] * 5, [1, 1, 1, 0, 0]]


def test_each_time_through_takes_every_sample_once() -> None:
    samples: list[Sample] = [{"input_ids": np.full((1, 1 + i % 9), i)} for i in range(150)]
    batches = list(itertools.islice(draw_batches(samples, np.random.default_rng(0)), 2 * -(-150 // BATCH)))
    for once in (batches[:10], batches[10:]):
        assert sorted(int(s["input_ids"][0, 0]) for batch in once for s in batch) == list(range(150))
    assert [len(b) for b in batches[:10]] != [len(b) for b in batches[10:]] or batches[0][0] is not batches[10][0]
