from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from packc.ingest.answers import BATCH, answer_samples
from packc.samples import Array, Sample, save_samples


class Recorder:
    """Answers the sum of each row, and remembers the shapes that it was asked with."""

    outputs = ("sum",)

    def __init__(self) -> None:
        self.shapes: list[tuple[int, ...]] = []

    def answer(self, inputs: Sample) -> dict[str, Array]:
        self.shapes.append(inputs["x"].shape)
        return {"sum": np.asarray(inputs["x"]).sum(1)}  # type: ignore[call-overload]


def ask(recorder: Recorder, folder: Path, samples: Sequence[Sample], *, batched: bool) -> dict[int, dict[str, Array]]:
    save_samples(folder / "inputs.npz", samples)
    return dict(answer_samples(recorder, folder / "inputs.npz", batched=batched))


@pytest.mark.parametrize("batched", [True, False])
def test_answers_keep_their_index_whatever_the_lengths(batched: bool, tmp_path: Path) -> None:
    samples = [{"x": np.full((1, 2 + i % 3), float(i))} for i in range(7)]
    answers = ask(Recorder(), tmp_path, samples, batched=batched)
    assert [answers[i]["sum"].tolist() for i in range(7)] == [[float(i) * (2 + i % 3)] for i in range(7)]


def test_equal_shapes_are_asked_together_and_never_padded(tmp_path: Path) -> None:
    recorder = Recorder()
    ask(recorder, tmp_path, [{"x": np.ones((1, 3))}] * (BATCH + 2) + [{"x": np.ones((1, 5))}], batched=True)
    assert recorder.shapes == [(BATCH, 3), (2, 3), (1, 5)]


def test_a_model_without_batch_is_asked_one_by_one(tmp_path: Path) -> None:
    recorder = Recorder()
    ask(recorder, tmp_path, [{"x": np.ones((1, 3))}] * 3, batched=False)
    assert recorder.shapes == [(1, 3)] * 3


def test_answers_come_while_the_model_is_asked(tmp_path: Path) -> None:
    """Memory never holds those of a whole file."""
    recorder = Recorder()
    save_samples(tmp_path / "inputs.npz", [{"x": np.ones((1, 3))}] * 3)
    answers = answer_samples(recorder, tmp_path / "inputs.npz", batched=False)
    assert next(answers)[0] == 0
    assert len(recorder.shapes) == 1
