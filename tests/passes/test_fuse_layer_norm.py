from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from graphs import apply_pass, count_nodes, make_context, parse_graph, random_weights, run_model
from packc.passes.fuse_layer_norm import FuseLayerNorm
from packc.passes.graph_pass import PassError

GRAPH = """
agraph (float[batch, length, 8] x) => (float[batch, length, 8] y)
<int64[1] axes = {-1}, float two = {2.0}, float epsilon = {1e-5}> {
   mean = ReduceMean<keepdims = 1>(x, axes)
   deviation = Sub(x, mean)
   squared = Pow(deviation, two)
   variance = ReduceMean<keepdims = 1>(squared, axes)
   stable = Add(variance, epsilon)
   root = Sqrt(stable)
   normal = Div(deviation, root)
   scaled = Mul(normal, gamma)
   y = Add(scaled, beta)
}
"""
WEIGHTS = {"gamma": random_weights(8, seed=1), "beta": random_weights(8, seed=2)}


def test_fuse_layer_norm_makes_one_operator(tmp_path: Path) -> None:
    model = parse_graph(GRAPH, WEIGHTS)
    x = random_weights(2, 3, 8)
    before = run_model(model, x=x)
    report = apply_pass(FuseLayerNorm(), model, make_context(tmp_path, geometry=None))
    assert count_nodes(model) == {"LayerNormalization": 1}
    assert (report.fused, report.expected, report.warnings) == (1, None, ())
    np.testing.assert_allclose(run_model(model, x=x)[0], before[0], atol=1e-5)


def test_fuse_layer_norm_warns_when_some_are_missing(tmp_path: Path) -> None:
    report = apply_pass(FuseLayerNorm(), parse_graph(GRAPH, WEIGHTS), make_context(tmp_path))
    assert report.expected == 2
    assert report.warnings == (
        "fuse_layer_norm: 1 of 2 layer normalizations fused; the rest runs as separate operators",
    )


def test_fuse_layer_norm_requires_a_recent_opset(tmp_path: Path) -> None:
    old = parse_graph("agraph (float[4] x) => (float[4] y) { y = Sqrt(x) }", opset=13)
    reason = FuseLayerNorm().requires(old, make_context(tmp_path))
    assert reason == "the graph has opset 13, fusions need 18 or later"


def test_fuse_layer_norm_ensures_a_sane_epsilon(tmp_path: Path) -> None:
    model = parse_graph(
        "agraph (float[b, 8] x) => (float[b, 8] y) { y = LayerNormalization<epsilon = -1.0>(x, gamma, beta) }", WEIGHTS
    )
    with pytest.raises(PassError, match="negative epsilon"):
        FuseLayerNorm().ensures(model, make_context(tmp_path))
