from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from graphs import apply_pass, count_nodes, evaluate_model, make_context, parse_graph, random_weights, run_model
from packc.passes.graph_pass import PassError
from packc.passes.quantize_static import QuantizeStatic

CONVOLUTIONS = """
agraph (float[batch, 3, 8, 8] x) => (float[batch, 5] y) {
   a = Conv<pads = [1, 1, 1, 1]>(x, first)
   b = Relu(a)
   c = Conv<pads = [1, 1, 1, 1]>(b, second)
   d = Add(b, c)
   e = GlobalAveragePool(d)
   f = Flatten(e)
   y = Gemm<transB = 1>(f, head)
}
"""
CONVOLUTION_WEIGHTS = {
    "first": random_weights(4, 3, 3, 3),
    "second": random_weights(4, 4, 3, 3, seed=1) / 4,
    "head": random_weights(5, 4, seed=2),
}
FEED_FORWARD = """
agraph (float[batch, length, 8] x) => (float[batch, length, 8] y) {
   wide = MatMul(x, up)
   active = Relu(wide)
   y = MatMul(active, down)
}
"""
FEED_FORWARD_WEIGHTS = {"up": random_weights(8, 16), "down": random_weights(16, 8, seed=1)}


def test_quantize_static_covers_a_convolutional_network(tmp_path: Path) -> None:
    model = parse_graph(CONVOLUTIONS, CONVOLUTION_WEIGHTS, opset=21)
    samples = [{"x": random_weights(1, 3, 8, 8, seed=i)} for i in range(16)]
    expected = [run_model(model, **sample)[0] for sample in samples]
    report = apply_pass(QuantizeStatic(), model, make_context(tmp_path, geometry=None, samples=samples))
    nodes = count_nodes(model)
    assert report.fused == nodes["QuantizeLinear"] > 4
    types = {name: value.dtype.name for name, value in model.graph.initializers.items() if value.dtype is not None}
    assert types["first_quantized"] == types["second_quantized"] == "INT8"
    assert "UINT8" in types.values()
    scales = model.graph.initializers["first_scale"].const_value
    assert scales is not None
    assert scales.numpy().shape == (4,)
    for sample, answer in zip(samples, expected, strict=True):
        np.testing.assert_allclose(evaluate_model(model, **sample)[0], answer, atol=0.05 * np.abs(answer).max() + 0.05)


def test_a_reduced_range_is_exact_in_onnx_runtime_on_every_cpu(tmp_path: Path) -> None:
    model = parse_graph(CONVOLUTIONS, CONVOLUTION_WEIGHTS, opset=21)
    samples = [{"x": random_weights(1, 3, 8, 8, seed=i)} for i in range(16)]
    context = make_context(tmp_path, geometry=None, samples=samples, reduce_range=True)
    apply_pass(QuantizeStatic(), model, context)
    weights = model.graph.initializers["second_quantized"].const_value
    assert weights is not None
    assert 60 <= np.abs(weights.numpy().astype(int)).max() <= 64
    for sample in samples:
        expected = evaluate_model(model, **sample)[0]
        np.testing.assert_allclose(run_model(model, **sample)[0], expected, atol=0.02 * np.abs(expected).max() + 0.02)


def test_quantize_static_can_keep_the_ffn_down_projection(tmp_path: Path) -> None:
    model = parse_graph(FEED_FORWARD, FEED_FORWARD_WEIGHTS)
    samples = [{"x": random_weights(1, 5, 8, seed=i)} for i in range(4)]
    apply_pass(QuantizeStatic(), model, make_context(tmp_path, samples=samples, exclude="ffn_down"))
    assert count_nodes(model)["QuantizeLinear"] > 0
    assert "up_quantized" in model.graph.initializers
    assert "down" in model.graph.initializers


def test_quantize_static_requires_something_to_quantize(tmp_path: Path) -> None:
    plain = parse_graph("agraph (float[4] x) => (float[4] y) { y = Sqrt(x) }")
    assert QuantizeStatic().requires(plain, make_context(tmp_path)) == "the graph has no Conv, MatMul or Gemm"


def test_quantize_static_refuses_an_empty_calibration(tmp_path: Path) -> None:
    with pytest.raises(PassError, match="no calibration samples"):
        apply_pass(QuantizeStatic(), parse_graph(FEED_FORWARD, FEED_FORWARD_WEIGHTS), make_context(tmp_path))


def test_quantize_static_ensures_that_something_was(tmp_path: Path) -> None:
    with pytest.raises(PassError, match="no activation was quantized"):
        QuantizeStatic().ensures(parse_graph(FEED_FORWARD, FEED_FORWARD_WEIGHTS), make_context(tmp_path))


def test_quantize_static_needs_scales_for_each_channel(tmp_path: Path) -> None:
    old = parse_graph(FEED_FORWARD, FEED_FORWARD_WEIGHTS, opset=11)
    reason = QuantizeStatic().requires(old, make_context(tmp_path))
    assert reason == "the graph has opset 11, a scale for each channel needs 13 or later"


def test_the_symmetric_form_has_no_zero_points_and_biases_in_fp32(tmp_path: Path) -> None:
    weights = {"w": random_weights(8, 4), "bias": random_weights(4, seed=1)}
    text = "agraph (float[batch, 8] x) => (float[batch, 4] y) { y = Gemm(x, w, bias) }"
    model = parse_graph(text, weights, opset=19)
    x = random_weights(2, 8, seed=2)
    expected = run_model(model, x=x)[0]
    context = make_context(tmp_path, samples=[{"x": x}], symmetric=True)
    apply_pass(QuantizeStatic(), model, context)
    pairs = [node for node in model.graph if node.op_type in ("QuantizeLinear", "DequantizeLinear")]
    assert len(pairs) == 4, "a pair for the input and one for the weights"
    for node in pairs:
        zero = node.inputs[2]
        assert zero is not None
        assert zero.const_value is not None
        assert zero.dtype is not None
        assert (zero.dtype.name, zero.const_value.numpy().any()) == ("INT8", False)
    gemm = next(node for node in model.graph if node.op_type == "Gemm")
    assert gemm.inputs[2] is not None
    assert gemm.inputs[2].name == "bias"
    np.testing.assert_allclose(evaluate_model(model, x=x)[0], expected, atol=0.1)
