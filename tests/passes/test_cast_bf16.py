from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx.reference import ReferenceEvaluator

from graphs import apply_pass, count_nodes, make_context, parse_graph, random_weights, run_model
from packc.passes.cast_bf16 import CastBf16
from packc.passes.graph_pass import PassError

GRAPH = """
agraph (float[batch, 8] x) => (float[batch, 4] y) <float floor = {0.0}> {
   a = MatMul(x, w)
   b = Add(a, bias)
   y = Max(b, floor)
}
"""
WEIGHTS = {"w": random_weights(8, 4), "bias": random_weights(4, seed=1)}


def test_cast_bf16_keeps_inputs_and_outputs(tmp_path: Path) -> None:
    model = parse_graph(GRAPH, WEIGHTS)
    x = random_weights(2, 8, seed=2)
    expected = run_model(model, x=x)[0]
    report = apply_pass(CastBf16(), model, make_context(tmp_path))
    assert report.fused == 2
    assert {model.graph.initializers[name].dtype for name in model.graph.initializers} == {
        ir.DataType.BFLOAT16,
        ir.DataType.FLOAT,
    }
    proto = ir.to_proto(model)
    onnx.checker.check_model(proto, full_check=True)
    answer = ReferenceEvaluator(proto).run(None, {"x": x})[0]
    assert answer.dtype == np.float32
    assert 0 < np.abs(answer - expected).max() < 0.1


def test_cast_bf16_computes_unsupported_operators_in_fp32(tmp_path: Path) -> None:
    model = parse_graph(GRAPH, WEIGHTS)
    apply_pass(CastBf16(), model, make_context(tmp_path))
    kept = next(node for node in model.graph if node.op_type == "Max")
    assert {value.dtype for value in kept.inputs if value is not None} == {ir.DataType.FLOAT}
    assert count_nodes(model)["Cast"] == 2


def test_cast_bf16_clamps_what_is_out_of_range(tmp_path: Path) -> None:
    model = parse_graph(GRAPH, {**WEIGHTS, "bias": np.full(4, np.finfo(np.float32).min)})
    apply_pass(CastBf16(), model, make_context(tmp_path))
    tensor = model.graph.initializers["bias_bfloat16"].const_value
    assert tensor is not None
    assert np.isfinite(tensor.numpy().astype(np.float32)).all()


def test_cast_bf16_requires_weights_and_no_control_flow(tmp_path: Path) -> None:
    plain = parse_graph("agraph (float[4] x) => (float[4] y) { y = Sqrt(x) }")
    assert CastBf16().requires(plain, make_context(tmp_path)) == "the graph has no fp32 weights"
    branch = parse_graph(
        "agraph (bool c, float[4] x) => (float[4] y) { y = If(c) <"
        "then_branch = t () => (float[4] a) { a = Sqrt(x) }, else_branch = e () => (float[4] b) { b = Abs(x) }> }"
    )
    assert CastBf16().requires(branch, make_context(tmp_path)) == "the graph has control flow"


def test_cast_bf16_ensures_bf16_weights(tmp_path: Path) -> None:
    with pytest.raises(PassError, match="no weight became bf16"):
        CastBf16().ensures(parse_graph(GRAPH, WEIGHTS), make_context(tmp_path))
