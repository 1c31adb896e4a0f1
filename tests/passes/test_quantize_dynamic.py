from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime as ort
import pytest

from graphs import apply_pass, count_nodes, evaluate_model, make_context, parse_graph, random_weights, run_model
from packc.passes.graph_pass import PassError
from packc.passes.quantize_dynamic import QuantizeDynamic

GRAPH = """
agraph (int64[batch, length] ids) => (float[batch, length, 8] y) {
   x = Gather(table, ids)
   wide = MatMul(x, up)
   biased = Add(wide, bias)
   active = Relu(biased)
   y = MatMul(active, down)
}
"""
WEIGHTS = {
    "table": random_weights(32, 8),
    "up": random_weights(8, 16, seed=1),
    "bias": random_weights(16, seed=2),
    "down": random_weights(16, 8, seed=3),
}
IDS = np.arange(12).reshape(2, 6)


def relative_error(model: ir.Model, expected: np.ndarray) -> float:
    return float(np.abs(evaluate_model(model, ids=IDS)[0] - expected).max() / np.abs(expected).max())


def test_quantize_dynamic_leaves_int8_weights_only(tmp_path: Path) -> None:
    model = parse_graph(GRAPH, WEIGHTS)
    expected = run_model(model, ids=IDS)[0]
    report = apply_pass(QuantizeDynamic(), model, make_context(tmp_path))
    assert (report.fused, report.expected) == (2, 2)
    assert count_nodes(model)["MatMul"] == 0
    large = {name: value.dtype for name, value in model.graph.initializers.items() if value.const_value.size > 32}  # type: ignore[union-attr]
    assert set(large.values()) == {ir.DataType.INT8}
    assert len(large) == 3
    assert 0 < relative_error(model, expected) < 0.03


@pytest.mark.parametrize("unsigned", [False, True])
def test_quantize_dynamic_is_merged_by_onnx_runtime(tmp_path: Path, unsigned: bool) -> None:
    """The bias goes into the integer product too: no separate operator is left around it."""
    model = parse_graph(GRAPH, WEIGHTS)
    apply_pass(QuantizeDynamic(), model, make_context(tmp_path, unsigned=unsigned))
    path, options = tmp_path / "optimized.onnx", ort.SessionOptions()
    options.optimized_model_filepath = str(path)
    ort.InferenceSession(ir.to_proto(model).SerializeToString(), options, providers=["CPUExecutionProvider"])
    operators = [node.op_type for node in onnx.load(path).graph.node]
    assert operators.count("DynamicQuantizeMatMul") == 2
    assert "Add" not in operators


def test_quantize_dynamic_can_keep_the_ffn_down_projection(tmp_path: Path) -> None:
    model = parse_graph(GRAPH, WEIGHTS)
    report = apply_pass(QuantizeDynamic(), model, make_context(tmp_path, exclude="ffn_down"))
    assert (report.fused, report.expected) == (1, 1)
    assert count_nodes(model)["MatMul"] == 1
    np.testing.assert_array_equal(model.graph.initializers["down"].const_value.numpy(), WEIGHTS["down"])  # type: ignore[union-attr]


def test_one_scale_a_channel_is_closer_than_one_a_tensor(tmp_path: Path) -> None:
    uneven = {**WEIGHTS, "down": WEIGHTS["down"] * np.logspace(-2, 1, 8, dtype=np.float32)}
    errors = {}
    for per_channel in (True, False):
        model = parse_graph(GRAPH, uneven)
        expected = run_model(model, ids=IDS)[0]
        apply_pass(QuantizeDynamic(), model, make_context(tmp_path, per_channel=per_channel))
        scales = np.abs(expected).max(axis=(0, 1))
        found = evaluate_model(model, ids=IDS)[0]
        errors[per_channel] = float((np.abs(found - expected).max(axis=(0, 1)) / scales).max())
    assert errors[True] < 0.05
    assert errors[False] > 4 * errors[True]


@pytest.mark.parametrize(
    ("option", "dtype", "largest"), [("reduce_range", np.int8, 63), ("unsigned", np.uint8, 128 + 127)]
)
def test_sums_are_exact_in_onnx_runtime_on_every_cpu(
    tmp_path: Path, option: str, dtype: type[np.generic], largest: int
) -> None:
    """All weights and activations as large as they get: the sums that signed 8 bits lose on CPUs without VNNI."""
    model = parse_graph(
        "agraph (float[batch, 64] x) => (float[batch, 32] y) { y = MatMul(x, w) }", {"w": np.ones((64, 32), np.float32)}
    )
    apply_pass(QuantizeDynamic(), model, make_context(tmp_path, **{option: True}))
    weights = [value.const_value for name, value in model.graph.initializers.items() if name.endswith("_quantized")]
    (tensor,) = [tensor for tensor in weights if tensor is not None]
    assert (tensor.numpy().dtype, tensor.numpy().max()) == (dtype, largest)
    x = np.ones((2, 64), np.float32)
    np.testing.assert_allclose(run_model(model, x=x)[0], np.full((2, 32), 64), rtol=1e-5)


def test_quantize_dynamic_requires_a_linear_layer(tmp_path: Path) -> None:
    plain = parse_graph("agraph (float[4] x) => (float[4] y) { y = Sqrt(x) }")
    reason = QuantizeDynamic().requires(plain, make_context(tmp_path))
    assert reason == "the graph has no MatMul or Gemm with constant weights"
    gemm = parse_graph("agraph (float[b, 8] x) => (float[b, 4] y) { y = Gemm(x, w) }", {"w": random_weights(8, 4)})
    assert QuantizeDynamic().requires(gemm, make_context(tmp_path)) is None


def test_quantize_dynamic_ensures_that_all_is_quantized(tmp_path: Path) -> None:
    model = parse_graph(GRAPH, WEIGHTS)
    with pytest.raises(PassError, match="no linear layer was quantized"):
        QuantizeDynamic().ensures(model, make_context(tmp_path))
    apply_pass(QuantizeDynamic(), model, make_context(tmp_path, exclude="ffn_down"))
    with pytest.raises(PassError, match="1 linear layers are still fp32"):
        QuantizeDynamic().ensures(model, make_context(tmp_path))


def test_quantize_dynamic_needs_its_operator(tmp_path: Path) -> None:
    text = "agraph (float[b, 8] x) => (float[b, 4] y) { y = MatMul(x, w) }"
    old = parse_graph(text, {"w": random_weights(8, 4)}, opset=9)
    reason = QuantizeDynamic().requires(old, make_context(tmp_path))
    assert reason == "the graph has opset 9, DynamicQuantizeLinear needs 11 or later"
