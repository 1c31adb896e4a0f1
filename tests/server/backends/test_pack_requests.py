from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import packc.server.install
from backend_stub import Request, import_backend, rows

FILE = Path(packc.server.install.__file__).parent / "backends" / "pack_requests.py"


@pytest.fixture
def shared(monkeypatch: pytest.MonkeyPatch) -> Any:
    return import_backend(FILE, monkeypatch)


class Doubler:
    """Gives x twice, and the sum of all as an output without rows; refuses negative numbers."""

    def __init__(self) -> None:
        self.calls: list[tuple[list[str], int]] = []

    def __call__(self, wanted: Sequence[str], feed: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        self.calls.append((list(wanted), len(feed["x"])))
        if (feed["x"] < 0).any():
            raise ValueError("x is negative")
        return {"y": 2 * feed["x"], "z": 3 * feed["x"], "sum": feed["x"].sum()}


def answer(shared: Any, requests: list[Request], is_batched: bool = True) -> tuple[list[Any], Doubler]:
    call = Doubler()
    return shared.answer_requests(requests, [shared.read_inputs(r) for r in requests], is_batched, call), call


def test_requests_of_one_batch_share_a_call_and_part_again(shared: Any) -> None:
    requests = [Request(x=rows(1)), Request(x=np.ones((1, 2))), Request(("z",), x=rows(2, 3)), Request(x=np.ones(3))]
    responses, call = answer(shared, requests)
    assert [[*r.outputs] for r in responses] == [["y"], ["y"], ["z"], ["y"]]
    assert responses[2].outputs["z"][:, 0].tolist() == [6, 9]
    assert call.calls == [(["y", "z"], 3), (["y"], 1), (["y"], 3)]


def test_without_batching_each_request_is_a_call(shared: Any) -> None:
    responses, call = answer(shared, [Request(("sum",), x=rows(1)), Request(x=rows(2))], is_batched=False)
    assert "sum" in responses[0].outputs
    assert call.calls == [(["sum"], 1), (["y"], 1)]


def test_a_request_that_fails_does_so_alone(shared: Any) -> None:
    responses, call = answer(shared, [Request(x=rows(1)), Request(x=rows(-1)), Request(x=rows(3))])
    assert [str(r.error) if r.error else r.outputs["y"][0, 0] for r in responses] == [2, "x is negative", 6]
    assert [size for _, size in call.calls] == [3, 1, 1, 1]


def test_requests_that_cannot_be_joined_are_answered_one_by_one(shared: Any) -> None:
    class Odd(np.ndarray):
        def __array_function__(self, *_: Any) -> Any:
            raise TypeError("no joining")

    odd = rows(1).view(Odd)
    responses, call = answer(shared, [Request(x=odd), Request(x=rows(2))])
    assert [r.outputs["y"][0, 0] for r in responses] == [2, 4]
    assert [size for _, size in call.calls] == [1, 1]


def test_the_model_lies_in_the_repository_or_below_its_name(shared: Any, tmp_path: Path) -> None:
    args = {"model_repository": str(tmp_path), "model_name": "m", "model_version": "1"}
    with pytest.raises(RuntimeError, match=f"^no model file at {tmp_path}/1/model.onnx$"):
        shared.find_model(args, "model.onnx")
    for folder in (tmp_path / "m" / "1", tmp_path / "1"):
        folder.mkdir(parents=True)
        (folder / "model.onnx").touch()
        assert shared.find_model(args, "model.onnx") == folder / "model.onnx"
