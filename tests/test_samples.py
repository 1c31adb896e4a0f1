from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from packc.samples import RawSamples, count_saved, iter_samples, load_samples, save_numbered, save_samples


def test_samples_come_back_in_order_with_their_types(tmp_path: Path) -> None:
    samples = [{"ids": np.full((1, n), n, np.int64), "mask": np.ones((1, n), np.float32)} for n in range(1, 13)]
    save_samples(tmp_path / "s.npz", samples)
    loaded = load_samples(tmp_path / "s.npz")
    assert [sample["ids"].shape for sample in loaded] == [(1, n) for n in range(1, 13)]
    assert all(sample["ids"].dtype == np.int64 and sample["mask"].dtype == np.float32 for sample in loaded)
    assert all((sample["ids"] == n).all() for n, sample in enumerate(loaded, start=1))


def test_names_may_hold_slashes_and_dots(tmp_path: Path) -> None:
    save_samples(tmp_path / "s.npz", [{"encoder/layer.0/out": np.zeros(2)}])
    assert list(load_samples(tmp_path / "s.npz")[0]) == ["encoder/layer.0/out"]


def test_the_file_keeps_the_name_it_is_given(tmp_path: Path) -> None:
    save_samples(tmp_path / "inputs", [])
    assert load_samples(tmp_path / "inputs") == []


def test_objects_are_refused_both_ways(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not Python objects"):
        save_samples(tmp_path / "s.npz", [{"x": np.array([{}], object)}])
    assert not (tmp_path / "s.npz").exists()
    np.savez(tmp_path / "p.npz", **{"0/x": np.array([{}], object)})
    with pytest.raises(ValueError, match="allow_pickle"):
        load_samples(tmp_path / "p.npz")


def test_generated_samples_say_so() -> None:
    assert RawSamples("generated").is_generated
    assert not RawSamples("eval.jsonl", texts=("a",)).is_generated


def test_only_the_samples_that_are_asked_for_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_samples(tmp_path / "s.npz", ({"x": np.full((1, 2), i), "y": np.ones(1)} for i in range(5)))
    read: list[str] = []
    get = np.lib.npyio.NpzFile.__getitem__
    monkeypatch.setattr(np.lib.npyio.NpzFile, "__getitem__", lambda self, key: (read.append(key), get(self, key))[1])
    assert count_saved(tmp_path / "s.npz") == 5
    assert read == []
    assert [int(sample["x"][0, 0]) for sample in load_samples(tmp_path / "s.npz", [3, 1])] == [3, 1]
    assert read == ["3/x", "3/y", "1/x", "1/y"]
    assert int(next(iter_samples(tmp_path / "s.npz"))["x"][0, 0]) == 0
    assert len(read) == 6


def test_samples_may_be_written_in_any_order(tmp_path: Path) -> None:
    save_numbered(tmp_path / "s.npz", ((i, {"x": np.array([i])}) for i in (2, 0, 1)))
    assert [sample["x"].tolist() for sample in load_samples(tmp_path / "s.npz")] == [[0], [1], [2]]


def test_samples_that_cannot_all_be_made_leave_no_file(tmp_path: Path) -> None:
    def make() -> Iterator[dict[str, np.ndarray]]:
        yield {"x": np.ones(1)}
        raise RuntimeError("no more")

    with pytest.raises(RuntimeError, match="no more"):
        save_samples(tmp_path / "s.npz", make())
    assert not (tmp_path / "s.npz").exists()
