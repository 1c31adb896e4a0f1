from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from packc.data.tensor_file import read_tensor_file
from packc.errors import DataError
from packc.samples import load_samples, save_samples


def test_samples_layout_is_taken_as_it_is(tmp_path: Path) -> None:
    save_samples(tmp_path / "a.npz", [{"x": np.ones((1, 3))}, {"x": np.ones((1, 5))}])
    samples = read_tensor_file(tmp_path / "a.npz")
    assert (samples.tensors, samples.labels) == (tmp_path / "a.npz", ())


def test_arrays_are_split_along_axis_0(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=np.arange(6.0).reshape(3, 2), y=np.arange(3), label=np.array(["a", "b", "a"]))
    samples = read_tensor_file(tmp_path / "a.npz")
    assert samples.labels == ("a", "b", "a")
    assert samples.tensors is not None
    split = load_samples(samples.tensors)
    assert [sample["x"].tolist() for sample in split] == [[[0.0, 1.0]], [[2.0, 3.0]], [[4.0, 5.0]]]
    assert [sample["y"].tolist() for sample in split] == [[0], [1], [2]]


def test_arrays_that_disagree(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=np.ones((3, 2)), label=np.ones(4))
    with pytest.raises(DataError, match="number of samples: x has 3, label has 4"):
        read_tensor_file(tmp_path / "a.npz")


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({}, "is empty"),
        ({"x": np.ones((0, 2))}, "has no samples: its arrays are empty"),
        ({"label": np.ones(2)}, "has labels and no inputs"),
        ({"0/x": np.ones(1), "2/x": np.ones(1)}, "sample 1 is missing"),
        ({"0/x": np.ones(1), "x": np.ones(1)}, "the key 'x' is of no sample"),
        ({"x": np.array([{}], dtype=object)}, "it holds pickled objects"),
    ],
)
def test_malformed(arrays: dict[str, np.ndarray], message: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(DataError, match=message):
        read_tensor_file(tmp_path / "a.npz")


@pytest.mark.parametrize("content", [b"", b"no archive", b"\x80\x04N."])
def test_not_an_archive(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(DataError, match=r"is not readable as \.npz: it is no archive"):
        read_tensor_file(tmp_path / "a.npz")


def test_truncated(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=np.ones((30, 20)))
    (tmp_path / "a.npz").write_bytes((tmp_path / "a.npz").read_bytes()[:-100])
    with pytest.raises(DataError, match=r"is not readable as \.npz"):
        read_tensor_file(tmp_path / "a.npz")
