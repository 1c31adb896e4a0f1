from __future__ import annotations

import dataclasses
from typing import cast

import numpy as np
import pytest

from packc.errors import PackError
from packc.package.golden import GoldenSet
from packc.package.manifest import VerdictRecord
from packc.samples import Sample
from packc.server.client import Answers, Client
from packc.server.replay import GoldenMismatch, chosen_precision, replay_golden
from served_packages import make_manifest


class Echo:
    """Answers each request with `answer(request)`."""

    url = "http://here"

    def __init__(self, answer: Answers) -> None:
        self.answer = answer

    def infer(self, model: str, inputs: Sample, *, version: str = "") -> Answers:
        return self.answer


def replay(golden: GoldenSet, answer: Answers, precision: str = "fp32") -> float:
    return replay_golden(cast("Client", Echo(answer)), "m", golden, precision).max_error  # type: ignore[arg-type]


def make_golden(answer: Answers) -> GoldenSet:
    return GoldenSet("text", [answer], [answer], texts=("hello",))


EMBEDDING = np.array([[0.5, -1.0]], np.float32)


def test_the_artifacts_own_answers_pass() -> None:
    assert replay(make_golden({"embedding": EMBEDDING}), {"embedding": EMBEDDING}) == 0
    assert replay(make_golden({"embedding": EMBEDDING}), {"embedding": EMBEDDING + 1e-5}) == pytest.approx(
        1e-5, rel=0.1
    )


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (EMBEDDING + 1e-3, "output 'embedding' differs by up to 0.001, more than 0.0001"),
        (EMBEDDING[:, :1], r"output 'embedding' has shape \[1, 1\], not \[1, 2\]"),
        (EMBEDDING * np.nan, "holds NaN or infinity"),
    ],
)
def test_other_answers_do_not(answer: np.ndarray, reason: str) -> None:
    with pytest.raises(GoldenMismatch, match=reason) as caught:
        replay(make_golden({"embedding": EMBEDDING}), {"embedding": answer})
    assert "1 of 1 golden requests" in str(caught.value)
    assert "request 0 ('hello')" in str(caught.value)


def test_a_narrow_type_may_round_otherwise() -> None:
    golden = make_golden({"embedding": EMBEDDING})
    assert replay(golden, {"embedding": EMBEDDING + 5e-3}, "int8") == pytest.approx(5e-3, rel=0.01)
    with pytest.raises(GoldenMismatch):
        replay(golden, {"embedding": EMBEDDING + 2e-2}, "int8")


def test_a_missing_output_is_told() -> None:
    with pytest.raises(GoldenMismatch, match="there is no output 'embedding', only logits"):
        replay(make_golden({"embedding": EMBEDDING}), {"logits": EMBEDDING})


def test_labels_are_compared_as_text() -> None:
    golden = make_golden({"label": np.array([["good"]])})
    assert replay(golden, {"label": np.array([[b"good"]], dtype=object)}) == 0
    with pytest.raises(GoldenMismatch, match=r"output 'label' is \['bad'\], not \['good'\]"):
        replay(golden, {"label": np.array([[b"bad"]], dtype=object)})


def test_the_source_is_compared_but_not_judged() -> None:
    golden = GoldenSet("text", [{"embedding": EMBEDDING}], [{"embedding": EMBEDDING + 0.25}], texts=("hello",))
    result = replay_golden(cast("Client", Echo({"embedding": EMBEDDING})), "m", golden, "fp32")
    assert (result.requests, result.max_error, result.source_max_error) == (1, 0, 0.25)


def test_the_chosen_precision() -> None:
    manifest = make_manifest("m")
    assert chosen_precision(manifest) == "fp32"
    with pytest.raises(PackError, match="chooses no candidate"):
        chosen_precision(dataclasses.replace(manifest, verdict=VerdictRecord(False, None, ())))
