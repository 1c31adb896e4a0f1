from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from graphs import apply_pass, make_context, parse_graph, random_weights, run_model
from packc.passes.cast_fp16 import CastFp16
from packc.passes.graph_pass import PassError

GRAPH = "agraph (float[batch, 8] x) => (float[batch, 4] y) { a = MatMul(x, w)\n b = Add(a, huge)\n y = Relu(b) }"
WEIGHTS = {"w": random_weights(8, 4), "huge": np.full(4, -3.4e38, np.float32)}


def test_cast_fp16_keeps_inputs_and_outputs(tmp_path: Path) -> None:
    model = parse_graph(GRAPH, {**WEIGHTS, "huge": random_weights(4, seed=1)})
    x = random_weights(2, 8, seed=2)
    expected = run_model(model, x=x)[0]
    report = apply_pass(CastFp16(), model, make_context(tmp_path))
    assert report.fused == 2
    assert model.graph.inputs[0].dtype == model.graph.outputs[0].dtype == ir.DataType.FLOAT
    answer = run_model(model, x=x)[0]
    assert answer.dtype == np.float32
    assert 0 < np.abs(answer - expected).max() < 0.02


def test_cast_fp16_clamps_what_is_out_of_range(tmp_path: Path) -> None:
    model = parse_graph(GRAPH, WEIGHTS)
    apply_pass(CastFp16(), model, make_context(tmp_path))
    tensor = model.graph.initializers["huge"].const_value
    assert tensor is not None
    assert np.isfinite(tensor.numpy()).all()


def test_cast_fp16_leaves_nodes_behind_what_they_read(tmp_path: Path) -> None:
    text = "agraph (float[batch, 8] x) => (float[batch, 4] y, float[batch, 4] z) "
    text += "{ a = MatMul(x, w)\n y = Relu(a)\n z = Tanh(y) }"  # y is an output, and read again
    model = parse_graph(text, {"w": WEIGHTS["w"]})
    apply_pass(CastFp16(), model, make_context(tmp_path))
    onnx.checker.check_model(ir.to_proto(model), full_check=True)


def test_cast_fp16_requires_weights(tmp_path: Path) -> None:
    plain = parse_graph("agraph (float[4] x) => (float[4] y) { y = Sqrt(x) }")
    assert CastFp16().requires(plain, make_context(tmp_path)) == "the graph has no fp32 weights"


def test_cast_fp16_ensures_fp16_weights(tmp_path: Path) -> None:
    with pytest.raises(PassError, match="no weight became fp16"):
        CastFp16().ensures(parse_graph(GRAPH, WEIGHTS), make_context(tmp_path))
