from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from graphs import count_nodes, make_context, parse_graph, random_weights, run_model
from packc.passes.graph_pass import PassError
from packc.passes.linear_layers import find_excluded, find_gemms, find_linear_layers, split_gemms

FEED_FORWARD = """
agraph (float[batch, length, 8] x) => (float[batch, length, 8] y) {
   wide = MatMul(x, up)
   active = Relu(wide)
   y = MatMul(active, down)
}
"""
WEIGHTS = {"up": random_weights(8, 16), "down": random_weights(16, 8, seed=1)}


def test_linear_layers_are_products_with_constant_weights() -> None:
    layers = find_linear_layers(parse_graph(FEED_FORWARD, WEIGHTS))
    assert [(layer.weights.name, layer.inputs, layer.outputs) for layer in layers] == [("up", 8, 16), ("down", 16, 8)]
    two = parse_graph("agraph (float[b, 8] x, float[8, 4] w) => (float[b, 4] y) { y = MatMul(x, w) }")
    assert find_linear_layers(two) == []


def test_exclude_ffn_down_is_found_by_its_shape(tmp_path: Path) -> None:
    model = parse_graph(FEED_FORWARD, WEIGHTS)
    excluded = find_excluded(model, make_context(tmp_path, exclude="ffn_down"))
    assert excluded == [find_linear_layers(model)[1].node.name]
    assert find_excluded(model, make_context(tmp_path)) == []


def test_exclude_says_what_it_cannot_do(tmp_path: Path) -> None:
    model = parse_graph(FEED_FORWARD, WEIGHTS)
    with pytest.raises(PassError, match="widths are not known"):
        find_excluded(model, make_context(tmp_path, geometry=None, exclude="ffn_down"))
    with pytest.raises(PassError, match="there are ffn_down and the names of layers"):
        find_excluded(model, make_context(tmp_path, exclude="embeddings"))
    narrow = parse_graph("agraph (float[b, 8] x) => (float[b, 16] y) { y = MatMul(x, up) }", {"up": WEIGHTS["up"]})
    with pytest.raises(PassError, match="no 16 x 8 projection"):
        find_excluded(narrow, make_context(tmp_path, exclude="ffn_down"))


def test_exclude_takes_names_of_layers(tmp_path: Path) -> None:
    model = parse_graph(FEED_FORWARD, WEIGHTS)
    up, down = (str(layer.node.name) for layer in find_linear_layers(model))
    assert find_excluded(model, make_context(tmp_path, exclude=(down,))) == [down]
    with pytest.raises(PassError, match="the graph has no linear layer gone, lost"):
        find_excluded(model, make_context(tmp_path, exclude=("lost", up, "gone")))


def test_a_gemm_is_excluded_by_its_own_name(tmp_path: Path) -> None:
    text = "agraph (float[b, 8] x) => (float[b, 4] y) { y = Gemm(x, w, c) }"
    model = parse_graph(text, {"w": random_weights(8, 4), "c": random_weights(4)})
    context = make_context(tmp_path, exclude=(str(find_gemms(model)[0].name),))
    before = find_excluded(model, context)
    split_gemms(model)
    assert [str(layer.node.name) for layer in find_linear_layers(model)] == before == find_excluded(model, context)


@pytest.mark.parametrize("transposed", [0, 1])
def test_split_gemms_keeps_the_answer(transposed: int) -> None:
    weights = random_weights(4, 8) if transposed else random_weights(8, 4)
    text = f"agraph (float[b, 8] x) => (float[b, 4] y) {{ y = Gemm<transB = {transposed}>(x, w, c) }}"
    model = parse_graph(text, {"w": weights, "c": random_weights(4, seed=2)})
    x = random_weights(3, 8, seed=3)
    before = run_model(model, x=x)
    split_gemms(model)
    assert count_nodes(model) == {"MatMul": 1, "Add": 1}
    np.testing.assert_allclose(run_model(model, x=x)[0], before[0], atol=1e-5)


def test_a_scaled_gemm_is_no_linear_layer() -> None:
    text = "agraph (float[b, 8] x) => (float[b, 4] y) { y = Gemm<alpha = 2.0>(x, w) }"
    assert find_gemms(parse_graph(text, {"w": random_weights(8, 4)})) == []


def test_weights_in_fp16_are_left_alone() -> None:
    text = "agraph (float16[b, 8] x) => (float16[b, 4] y) { h = MatMul(x, u) y = Gemm(h, w) }"
    weights = {"u": random_weights(8, 8).astype(np.float16), "w": random_weights(8, 4).astype(np.float16)}
    model = parse_graph(text, weights)
    assert (find_linear_layers(model), find_gemms(model)) == ([], [])
