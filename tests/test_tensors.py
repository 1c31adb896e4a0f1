from __future__ import annotations

from typing import get_args

from packc.tensors import PRECISIONS, Precision, TensorSpec


def test_only_a_named_first_axis_is_the_batch() -> None:
    assert TensorSpec("x", "float32", ("batch", 3)).is_batched
    assert not TensorSpec("x", "float32", (1, 3)).is_batched
    assert not TensorSpec("x", "float32", ("sequence", "batch")).is_batched
    assert not TensorSpec("x", "float32", ()).is_batched


def test_all_precisions_are_listed() -> None:
    assert get_args(Precision) == PRECISIONS
