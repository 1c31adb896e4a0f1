from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from packc.samples import RawSamples, load_samples, save_samples


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
