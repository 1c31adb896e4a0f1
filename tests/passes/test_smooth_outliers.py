from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from graphs import apply_pass, count_nodes, make_context, parse_graph, random_weights, run_model
from packc.passes.graph_pass import PassError
from packc.passes.linear_layers import find_linear_layers
from packc.passes.smooth_outliers import SmoothOutliers, find_scales

GRAPH = "agraph (float[batch, 8] x) => (float[batch, 4] y, float[batch, 4] z) { y = MatMul(x, a)\n z = MatMul(x, b) }"
WEIGHTS = {"a": random_weights(8, 4), "b": random_weights(8, 4, seed=1)}


def outlying(factor: float) -> dict[str, np.ndarray]:
    x = random_weights(64, 8, seed=2)
    x[:, 3] *= factor
    return {"x": x}


def test_smooth_outliers_moves_the_outlier_into_the_weights(tmp_path: Path) -> None:
    model = parse_graph(GRAPH, WEIGHTS)
    sample = outlying(30.0)
    before = run_model(model, **sample)
    report = apply_pass(SmoothOutliers(), model, make_context(tmp_path, samples=[sample]))
    assert report.fused == 1
    assert count_nodes(model) == {"Mul": 1, "MatMul": 2}
    grown = [np.abs(layer.weights.const_value.numpy()[3]).max() for layer in find_linear_layers(model)]  # type: ignore[union-attr]
    assert min(grown) > 5 * max(np.abs(WEIGHTS["a"][3]).max(), np.abs(WEIGHTS["b"][3]).max())
    for after, expected in zip(run_model(model, **sample), before, strict=True):
        np.testing.assert_allclose(after, expected, rtol=1e-4, atol=1e-4)


def test_smooth_outliers_leaves_even_channels_alone(tmp_path: Path) -> None:
    model = parse_graph(GRAPH, WEIGHTS)
    report = apply_pass(SmoothOutliers(), model, make_context(tmp_path, samples=[outlying(1.0)]))
    assert not report.modified
    assert count_nodes(model) == {"MatMul": 2}


def test_scales_touch_outliers_only() -> None:
    scales = find_scales(np.array([1.0, 1.0, 1.2, 15.0, 0.0], np.float32))
    np.testing.assert_allclose(scales, [1, 1, 1, 10, 1])
    np.testing.assert_array_equal(find_scales(np.zeros(3, np.float32)), np.ones(3))
    np.testing.assert_array_equal(find_scales(np.array([1, np.inf, 1], np.float32)), np.ones(3))


def test_smooth_outliers_requires_a_linear_layer(tmp_path: Path) -> None:
    plain = parse_graph("agraph (float[4] x) => (float[4] y) { y = Sqrt(x) }")
    reason = SmoothOutliers().requires(plain, make_context(tmp_path))
    assert reason == "the graph has no MatMul with constant weights"


def test_smooth_outliers_refuses_an_empty_calibration(tmp_path: Path) -> None:
    with pytest.raises(PassError, match="no calibration samples"):
        apply_pass(SmoothOutliers(), parse_graph(GRAPH, WEIGHTS), make_context(tmp_path))


def test_smooth_outliers_ensures_finite_weights(tmp_path: Path) -> None:
    model = parse_graph(GRAPH, {"a": np.full((8, 4), np.nan, np.float32), "b": WEIGHTS["b"]})
    with pytest.raises(PassError, match="no longer finite"):
        SmoothOutliers().ensures(model, make_context(tmp_path))
