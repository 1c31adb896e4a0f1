from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime as ort
import pytest

from graphs import apply_pass, count_nodes, make_context, parse_graph, random_weights, run_model
from packc.passes.graph_pass import PassError
from packc.passes.shield_layer_norm import ShieldLayerNorm

GRAPH = """
agraph (float[batch, length, 8] x, float[batch, length, 8] skip) => (float[batch, length, 8] y) {
   biased = Add(x, bias)
   sum = Add(biased, skip)
   y = LayerNormalization(sum, gamma, beta)
}
"""
WEIGHTS = {name: random_weights(8, seed=i) for i, name in enumerate(("bias", "gamma", "beta"))}


def list_optimized(model: ir.Model, tmp_path: Path) -> set[str]:
    """Operators that ONNX Runtime runs after its own rewriting."""
    path = tmp_path / "optimized.onnx"
    options = ort.SessionOptions()
    options.optimized_model_filepath = str(path)
    ort.InferenceSession(ir.to_proto(model).SerializeToString(), options, providers=["CPUExecutionProvider"])
    return {node.op_type for node in onnx.load(path).graph.node}


def test_shield_layer_norm_keeps_the_fast_kernel(tmp_path: Path) -> None:
    model = parse_graph(GRAPH, WEIGHTS)
    inputs = {"x": random_weights(2, 3, 8), "skip": random_weights(2, 3, 8, seed=5)}
    before = run_model(model, **inputs)
    assert "SkipLayerNormalization" in list_optimized(model, tmp_path)
    report = apply_pass(ShieldLayerNorm(), model, make_context(tmp_path))
    assert report.fused == 1
    assert count_nodes(model) == {"Add": 1, "Sum": 1, "LayerNormalization": 1}
    assert list_optimized(model, tmp_path) == {"Add", "Sum", "LayerNormalization"}
    np.testing.assert_allclose(run_model(model, **inputs)[0], before[0], atol=1e-6)


def test_shield_layer_norm_requires_one(tmp_path: Path) -> None:
    plain = parse_graph("agraph (float[4] x) => (float[4] y) { y = Sqrt(x) }")
    assert ShieldLayerNorm().requires(plain, make_context(tmp_path)) == "the graph has no LayerNormalization"


def test_shield_layer_norm_ensures_that_none_is_exposed(tmp_path: Path) -> None:
    with pytest.raises(PassError, match="SkipLayerNormalization"):
        ShieldLayerNorm().ensures(parse_graph(GRAPH, WEIGHTS), make_context(tmp_path))
