from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from graphs import apply_pass, count_nodes, make_context, parse_graph, random_weights, run_model
from packc.passes.graph_pass import PassError
from packc.passes.quantize_weights import QuantizeWeights, quantize_blocks

FEED_FORWARD = """
agraph (float[batch, 40] x) => (float[batch, 8] y) {
   wide = MatMul(x, up)
   active = Relu(wide)
   y = Gemm<transB = 1>(active, down, bias)
}
"""
LOOKUP = """
agraph (int64[batch, length] ids) => (float[batch, length, 8] y) {
   x = Gather(table, ids)
   wide = MatMul(x, up)
   y = MatMul(wide, down)
}
"""
WEIGHTS = {"up": random_weights(40, 16, seed=1), "down": random_weights(8, 16, seed=2), "bias": random_weights(8)}


def unpack(numbers: np.ndarray, bits: int) -> np.ndarray:
    return np.stack([numbers & 15, numbers >> 4], axis=-1).reshape(*numbers.shape[:2], -1) if bits == 4 else numbers


@pytest.mark.parametrize(("bits", "worst"), [(8, 0.03), (4, 0.3)])
def test_onnx_runtime_computes_with_the_blocks(tmp_path: Path, bits: int, worst: float) -> None:
    """40 inputs: the second block of 32 is not full."""
    model = parse_graph(FEED_FORWARD, WEIGHTS)
    x = random_weights(6, 40, seed=3)
    expected = run_model(model, x=x)[0]
    report = apply_pass(QuantizeWeights(), model, make_context(tmp_path, bits=bits))
    assert (report.fused, report.expected) == (2, 2)
    assert count_nodes(model) == {"MatMulNBits": 2, "Relu": 1, "Add": 1}
    weights = [value for value in model.graph.initializers.values() if value.dtype == ir.DataType.UINT8]
    sizes = [value.const_value.nbytes for value in weights if value.const_value is not None]
    assert sorted(sizes) == [8 * 32 * bits // 8, 16 * 64 * bits // 8]
    found = run_model(model, x=x)[0]
    assert 0 < np.abs(found - expected).max() < worst * np.abs(expected).max()


def test_blocks_keep_the_ffn_down_projection_and_take_the_tables(tmp_path: Path) -> None:
    weights = {"table": random_weights(32, 8), "up": random_weights(8, 16), "down": random_weights(16, 8)}
    model = parse_graph(LOOKUP, weights)
    report = apply_pass(QuantizeWeights(), model, make_context(tmp_path, exclude="ffn_down"))
    assert (report.fused, report.expected) == (1, 1)
    assert "down" in model.graph.initializers
    assert "table" not in model.graph.initializers


@pytest.mark.parametrize("bits", [8, 4])
def test_the_largest_weight_of_a_block_is_exact(bits: int) -> None:
    weights = random_weights(50, 3)
    weights[:32, 1] = 0.0
    numbers, scales = quantize_blocks(weights, bits, block_size=32)
    assert (numbers.shape, scales.shape) == ((3, 2, 32 * bits // 8), (3, 2))
    found = ((unpack(numbers, bits).astype(int) - (1 << bits - 1)) * scales[:, :, None]).reshape(3, 64).T
    np.testing.assert_array_equal(found[50:], 0)
    np.testing.assert_array_equal(found[:32, 1], 0)
    # half a step, but for the sign without the exact end, which may be a whole step away
    assert (np.abs(found[:50] - weights) <= 1.001 * np.abs(np.repeat(scales, 32, axis=1).T[:50])).all()
    largest = np.abs(weights[:32, 0]).argmax()
    np.testing.assert_allclose(found[largest, 0], weights[largest, 0], rtol=1e-6)


@pytest.mark.parametrize("options", [{"bits": 3}, {"block_size": 48}])
def test_what_has_no_kernel_is_refused(tmp_path: Path, options: dict[str, int]) -> None:
    with pytest.raises(PassError, match="bits are one of"):
        apply_pass(QuantizeWeights(), parse_graph(FEED_FORWARD, WEIGHTS), make_context(tmp_path, **options))


def test_quantize_weights_requires_a_linear_layer(tmp_path: Path) -> None:
    plain = parse_graph("agraph (float[4] x) => (float[4] y) { y = Sqrt(x) }")
    reason = QuantizeWeights().requires(plain, make_context(tmp_path))
    assert reason == "the graph has no MatMul or Gemm with constant weights"


def test_quantize_weights_ensures_that_all_is_quantized(tmp_path: Path) -> None:
    model = parse_graph(FEED_FORWARD, WEIGHTS)
    with pytest.raises(PassError, match="no linear layer was quantized"):
        QuantizeWeights().ensures(model, make_context(tmp_path))
