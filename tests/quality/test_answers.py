from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from packc.errors import DataError, PackError
from packc.quality.answers import judged_outputs, read_pairs
from packc.samples import save_samples


def write(path: Path, *samples: dict[str, object]) -> Path:
    save_samples(path, [{name: np.asarray(value, np.float32) for name, value in sample.items()} for sample in samples])
    return path


def test_pairs_come_in_order_however_many_there_are(tmp_path: Path) -> None:
    ours = write(tmp_path / "ours", *({"y": [[i]], "other": [0]} for i in range(12)))
    theirs = write(tmp_path / "theirs", *({"y": [[i + 0.5]]} for i in range(12)))
    pairs = [sample[0] for sample in read_pairs(ours, theirs, "y")]
    assert [float(a[0, 0]) for a, _ in pairs] == list(range(12))
    assert [float(b[0, 0]) for _, b in pairs] == [i + 0.5 for i in range(12)]


def test_both_ends_of_a_span_are_judged(tmp_path: Path) -> None:
    answer = {"start_logits": [[1, 2]], "end_logits": [[2, 1]], "extra": [0]}
    path = write(tmp_path / "a", answer)
    (sample,) = read_pairs(path, path, "end_logits")
    assert len(sample) == 2
    assert judged_outputs("start_logits", ("start_logits", "end_logits")) == ("start_logits", "end_logits")
    assert judged_outputs("logits", ("logits", "end_logits")) == ("logits",)
    assert judged_outputs("logits", ("logits", "pred_boxes")) == ("logits", "pred_boxes")


@pytest.mark.parametrize(
    ("candidate", "message"),
    [
        ([{"y": [[1, 2]]}], "the candidate answered 1 samples of 2"),
        ([{"y": [[1, 2]]}, {"z": [[1, 2]]}], "the candidate gave no output 'y' for sample 1"),
        (
            [{"y": [[1, 2]]}, {"y": [[1, 2, 3]]}],
            "output 'y', sample 1: the candidate's shape is [1, 3], the source's [1, 2]",
        ),
        ([{"y": [[1, np.nan]]}, {"y": [[1, 2]]}], "output 'y', sample 0: the candidate's answer holds NaN or infinity"),
    ],
)
def test_what_cannot_be_compared_is_refused(tmp_path: Path, candidate: list[dict[str, object]], message: str) -> None:
    ours = write(tmp_path / "ours", {"y": [[1, 2]]}, {"y": [[1, 2]]})
    theirs = write(tmp_path / "theirs", *candidate)
    with pytest.raises(PackError) as error:
        list(read_pairs(ours, theirs, "y"))
    assert str(error.value) == message


@pytest.mark.parametrize("damage", ["text", "cut", "one array", "words"])
def test_a_damaged_file_is_named(tmp_path: Path, damage: str) -> None:
    ours = write(tmp_path / "ours.npz", {"y": [[1, 2]]})
    theirs = tmp_path / "theirs.npz"
    match damage:
        case "text":
            theirs.write_text("no archive")
        case "cut":
            theirs.write_bytes(ours.read_bytes()[:-40])
        case "one array":
            with theirs.open("wb") as file:
                np.save(file, np.ones(3))
        case "words":
            np.savez(theirs, **{"0/y": np.array([["a", "b"]])})
    with pytest.raises(PackError, match=r"theirs\.npz is (damaged|no archive)|of type <U1, which is no number"):
        list(read_pairs(ours, theirs, "y"))


def test_keys_of_another_layout_are_damage(tmp_path: Path) -> None:
    ours, theirs = write(tmp_path / "ours.npz", {"y": [[1, 2]]}), tmp_path / "theirs.npz"
    np.savez(theirs, y=np.ones((1, 2)))
    with pytest.raises(PackError, match=r"theirs\.npz is damaged"):
        list(read_pairs(ours, theirs, "y"))


def test_a_broken_reference_is_not_blamed_on_the_candidate(tmp_path: Path) -> None:
    ours, theirs = write(tmp_path / "ours", {"y": [[np.inf]]}), write(tmp_path / "theirs", {"y": [[1]]})
    with pytest.raises(DataError, match="the source model's own answer holds NaN or infinity"):
        list(read_pairs(ours, theirs, "y"))
