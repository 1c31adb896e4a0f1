from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from graphs import apply_pass, count_nodes, make_context, parse_graph, random_weights, run_model
from packc.passes.graph_pass import PassError
from packc.passes.merge_skip_norm import MergeSkipNorm

NORM = """
agraph (float[batch, length, 8] x, float[batch, length, 8] z) => (float[batch, length, 8] y) {
   product = MatMul(x, w)
   biased = Add(product, b)
   total = Add(biased, z)
   y = LayerNormalization<axis = -1, epsilon = 0.001>(total, scale, shift)
}
"""
SHARED = NORM.replace("=> (float[batch, length, 8] y)", "=> (float[batch, length, 8] y2)").replace(
    "shift)\n}", "shift)\n y2 = Add(y, total)\n}"
)
WEIGHTS = {
    "w": random_weights(8, 8), "b": random_weights(8, seed=1),
    "scale": random_weights(8, seed=2), "shift": random_weights(8, seed=3),
}  # fmt: skip
INPUTS = {"x": random_weights(2, 5, 8, seed=4), "z": random_weights(2, 5, 8, seed=5)}


def make_model(text: str = NORM) -> ir.Model:
    from onnx_ir.passes.common import ShapeInferencePass

    model = parse_graph(text, WEIGHTS)
    ShapeInferencePass()(model)
    return model


def test_merge_skip_norm_takes_bias_and_residual(tmp_path: Path) -> None:
    model = make_model()
    before = run_model(model, **INPUTS)
    report = apply_pass(MergeSkipNorm(), model, make_context(tmp_path))
    assert count_nodes(model) == {"MatMul": 1, "SkipLayerNormalization": 1}
    assert report.fused == 1
    np.testing.assert_allclose(run_model(model, **INPUTS)[0], before[0], atol=1e-5)


def test_merge_skip_norm_gives_the_sum_to_its_other_readers(tmp_path: Path) -> None:
    model = make_model(SHARED)
    before = run_model(model, **INPUTS)
    apply_pass(MergeSkipNorm(), model, make_context(tmp_path))
    assert count_nodes(model) == {"MatMul": 1, "SkipLayerNormalization": 1, "Add": 1}
    np.testing.assert_allclose(run_model(model, **INPUTS)[0], before[0], atol=1e-5)


def test_merge_skip_norm_leaves_a_sum_of_other_shapes_alone(tmp_path: Path) -> None:
    model = make_model(
        NORM.replace("z) =>", "z0) =>").replace("total = Add(biased, z)", "z = ReduceMax(z0)\n total = Add(biased, z)")
    )
    assert "no LayerNormalization" in (MergeSkipNorm().requires(model, make_context(tmp_path)) or "")


def test_merge_skip_norm_ensures_that_none_is_left(tmp_path: Path) -> None:
    with pytest.raises(PassError, match="still has a residual in front of it"):
        MergeSkipNorm().ensures(make_model(), make_context(tmp_path))
