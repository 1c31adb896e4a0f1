from __future__ import annotations

import numpy as np
import pytest

from packc.ingest.answers import BATCH, answer_samples
from packc.samples import Array, Sample


class Recorder:
    """Answers the sum of each row, and remembers the shapes that it was asked with."""

    outputs = ("sum",)

    def __init__(self) -> None:
        self.shapes: list[tuple[int, ...]] = []

    def answer(self, inputs: Sample) -> dict[str, Array]:
        self.shapes.append(inputs["x"].shape)
        return {"sum": np.asarray(inputs["x"]).sum(1)}  # type: ignore[call-overload]


@pytest.mark.parametrize("batched", [True, False])
def test_answers_come_in_order_whatever_the_lengths(batched: bool) -> None:
    samples = [{"x": np.full((1, 2 + i % 3), float(i))} for i in range(7)]
    answers = answer_samples(Recorder(), samples, batched=batched)
    assert [answer["sum"].tolist() for answer in answers] == [[float(i) * (2 + i % 3)] for i in range(7)]


def test_equal_shapes_are_asked_together_and_never_padded() -> None:
    recorder = Recorder()
    answer_samples(recorder, [{"x": np.ones((1, 3))}] * (BATCH + 2) + [{"x": np.ones((1, 5))}], batched=True)
    assert recorder.shapes == [(BATCH, 3), (2, 3), (1, 5)]


def test_a_model_without_batch_is_asked_one_by_one() -> None:
    recorder = Recorder()
    answer_samples(recorder, [{"x": np.ones((1, 3))}] * 3, batched=False)
    assert recorder.shapes == [(1, 3)] * 3
