"""The count of each operator, on graphs whose count is known by heart."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from models import make_tiny_onnx
from packc.measure.work_child import count_graph, main
from packc.samples import save_samples


def save_graph(
    path: Path,
    nodes: list[Any],
    weights: dict[str, tuple[int, ...]],
    x: tuple[int | str, ...],
    rank: int,
    opset: int = 23,
) -> Path:
    """A graph from "x" to "y" with weights of these shapes."""
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, x)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None] * rank)],
        [numpy_helper.from_array(np.ones(shape, np.float32), name) for name, shape in weights.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10), path)
    return path


@pytest.mark.parametrize(
    ("node", "weights", "x", "flops"),
    [
        (helper.make_node("MatMul", ["x", "w"], ["y"]), {"w": (8, 4)}, (3, 5, 8), 2 * 3 * 5 * 8 * 4),
        (helper.make_node("Gemm", ["x", "w", "b"], ["y"], transB=1), {"w": (4, 8), "b": (4,)}, (3, 8), 2 * 3 * 8 * 4),
        (helper.make_node("Gemm", ["x", "w"], ["y"], transA=1), {"w": (3, 4)}, (3, 8), 2 * 3 * 8 * 4),
        (helper.make_node("Conv", ["x", "w"], ["y"]), {"w": (6, 2, 3, 3)}, (1, 2, 10, 10), 2 * 6 * 8 * 8 * 2 * 9),
        (helper.make_node("Conv", ["x", "w"], ["y"], group=2), {"w": (6, 1, 3, 3)}, (1, 2, 10, 10), 2 * 6 * 64 * 9),
        (helper.make_node("ConvTranspose", ["x", "w"], ["y"]), {"w": (2, 6, 3, 3)}, (1, 2, 10, 10), 2 * 200 * 6 * 9),
    ],
)
def test_every_multiplication_counts_as_two(
    tmp_path: Path, node: Any, weights: dict[str, tuple[int, ...]], x: tuple[int, ...], flops: float
) -> None:
    graph = save_graph(tmp_path / "model.onnx", [node], weights, ("batch", *x[1:]), len(x))
    windows = flops if len(weights["w"]) == 4 else 0.0
    assert count_graph(graph, {"x": np.zeros(x, np.float32)}) == (flops, np.prod(weights["w"]), windows)


def test_only_windows_larger_than_a_point_may_take_fewer(tmp_path: Path) -> None:
    nodes = [helper.make_node("Conv", ["x", "w"], ["inner"]), helper.make_node("Conv", ["inner", "v"], ["y"])]
    graph = save_graph(tmp_path / "model.onnx", nodes, {"w": (6, 2, 3, 3), "v": (4, 6, 1, 1)}, ("b", 2, 10, 10), 4)
    windows = 2 * 6 * 64 * 2 * 9
    flops, _, window_flops = count_graph(graph, {"x": np.zeros((1, 2, 10, 10), np.float32)})
    assert (flops, window_flops) == (windows + 2 * 4 * 64 * 6, windows)


def test_attention_is_two_products(tmp_path: Path) -> None:
    """[batch 2, heads 3, length 5, width 4]: scores 2*3*5*5*4 multiplications, and as many for the values."""
    node = helper.make_node("Attention", ["x", "x", "x"], ["y"])
    graph = save_graph(tmp_path / "model.onnx", [node], {}, ("batch", 3, "length", 4), 4)
    assert count_graph(graph, {"x": np.zeros((2, 3, 5, 4), np.float32)}) == (2 * 2 * 2 * 3 * 5 * 5 * 4, 0.0, 0.0)


def test_a_weight_may_come_through_other_nodes_and_is_read_once(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Transpose", ["w"], ["turned"], perm=[1, 0]),
        helper.make_node("MatMul", ["x", "turned"], ["middle"]),
        helper.make_node("MatMul", ["middle", "turned"], ["y"]),
    ]
    graph = save_graph(tmp_path / "model.onnx", nodes, {"w": (8, 8)}, ("batch", 8), 2)
    assert count_graph(graph, {"x": np.zeros((1, 8), np.float32)}) == (2 * 2 * 64, 64, 0.0)


def test_products_of_activations_read_no_weights(tmp_path: Path) -> None:
    node = helper.make_node("MatMul", ["x", "x"], ["y"])
    assert count_graph(
        save_graph(tmp_path / "model.onnx", [node], {}, ("n", "n"), 2), {"x": np.zeros((4, 4), np.float32)}
    ) == (128, 0.0, 0.0)


def test_shapes_that_depend_on_values_are_those_of_the_call(tmp_path: Path) -> None:
    nodes = [helper.make_node("NonZero", ["x"], ["places"]), helper.make_node("Cast", ["places"], ["f"], to=1)]
    nodes += [helper.make_node("Transpose", ["f"], ["turned"]), helper.make_node("MatMul", ["turned", "w"], ["y"])]
    graph = save_graph(tmp_path / "model.onnx", nodes, {"w": (2, 4)}, ("n", "n"), 2)
    assert count_graph(graph, {"x": np.eye(3, dtype=np.float32)}) == (2 * 3 * 2 * 4, 8, 0.0)


def test_weights_may_lie_beside_the_graph(tmp_path: Path) -> None:
    graph = make_tiny_onnx(tmp_path / "model.onnx", external_data=True)
    assert count_graph(graph, {"features": np.zeros((2, 8), np.float32)}) == (2 * 2 * 8 * 4, 32, 0.0)


def test_a_graph_without_products_has_no_work(tmp_path: Path) -> None:
    graph = save_graph(tmp_path / "model.onnx", [helper.make_node("Relu", ["x"], ["y"])], {}, ("n", 4), 2)
    assert count_graph(graph, {"x": np.zeros((1, 4), np.float32)}) == (0.0, 0.0, 0.0)


def test_a_request_has_an_answer_a_case(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    graph = save_graph(tmp_path / "model.onnx", [node], {"w": (8, 4)}, ("batch", 8), 2)
    save_samples(tmp_path / "latency.npz", [{"x": np.zeros((batch, 8), np.float32)} for batch in (1, 2, 3)])
    request = {"model": str(graph), "samples": str(tmp_path / "latency.npz"), "cases": 2}
    monkeypatch.setattr(sys, "stdin", io.StringIO(json.dumps(request)))
    answer = io.StringIO()
    monkeypatch.setattr(sys, "stdout", answer)
    main()
    assert json.loads(answer.getvalue()) == [
        {"flops": 64.0, "weights": 32.0, "window_flops": 0.0},
        {"flops": 128.0, "weights": 32.0, "window_flops": 0.0},
    ]
