from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from graphs import (
    ATTENTION,
    apply_pass,
    count_nodes,
    make_attention,
    make_context,
    parse_graph,
    random_weights,
    run_model,
)
from packc.passes.fuse_attention import FuseAttention
from packc.passes.graph_pass import PassError

MASK = np.array([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]])


def test_fuse_attention_makes_one_operator(tmp_path: Path) -> None:
    model = make_attention()
    x = random_weights(2, 5, 8)
    before = run_model(model, x=x, mask=MASK)
    report = apply_pass(FuseAttention(), model, make_context(tmp_path))
    nodes = count_nodes(model)
    assert nodes["Attention"] == 1
    assert nodes["Softmax"] == nodes["Transpose"] == nodes["Reshape"] == 0
    assert (report.fused, report.expected, report.warnings) == (1, 1, ())
    np.testing.assert_allclose(run_model(model, x=x, mask=MASK)[0], before[0], atol=1e-6)


def test_fuse_attention_takes_a_position_bias_beside_the_mask(tmp_path: Path) -> None:
    text = ATTENTION.replace(
        "scores = Add(scores1, bias)", "biased = Add(scores1, position)\n scores = Add(biased, bias)"
    )
    text = text.replace(
        "int64[batch, length] mask)", "int64[batch, length] mask, float[1, 2, length, length] position)"
    )
    model = make_attention(text)
    inputs = {"x": random_weights(2, 5, 8), "mask": MASK, "position": random_weights(1, 2, 5, 5, seed=9)}
    before = run_model(model, **inputs)
    apply_pass(FuseAttention(), model, make_context(tmp_path))
    assert count_nodes(model)["Attention"] == 1
    np.testing.assert_allclose(run_model(model, **inputs)[0], before[0], atol=1e-6)


def test_fuse_attention_warns_when_it_recognises_nothing(tmp_path: Path) -> None:
    model = parse_graph("agraph (float[b, 8] x) => (float[b, 8] y) { y = Softmax(x) }")
    report = apply_pass(FuseAttention(), model, make_context(tmp_path))
    assert not report.modified
    assert report.warnings == ("fuse_attention: 0 of 1 attentions fused; the rest runs as separate operators",)


def test_fuse_attention_requires_a_softmax_and_a_recent_opset(tmp_path: Path) -> None:
    context = make_context(tmp_path)
    plain = parse_graph("agraph (float[4] x) => (float[4] y) { y = Sqrt(x) }")
    assert FuseAttention().requires(plain, context) == "the graph has no Softmax"
    old = parse_graph("agraph (float[4] x) => (float[4] y) { y = Softmax(x) }", opset=13)
    assert "opset 13" in (FuseAttention().requires(old, context) or "")


def test_fuse_attention_ensures_that_no_intermediate_is_left(tmp_path: Path) -> None:
    model = make_attention()
    node = next(node for node in model.graph if node.op_type == "Softmax")
    node.domain = "ai.onnxruntime._fusion"
    with pytest.raises(PassError, match="intermediate Softmax"):
        FuseAttention().ensures(model, make_context(tmp_path))


def test_fuse_attention_ensures_the_opset(tmp_path: Path) -> None:
    model = make_attention()
    apply_pass(FuseAttention(), model, make_context(tmp_path))
    assert isinstance(model, ir.Model)
    model.graph.opset_imports[""] = 20
    with pytest.raises(PassError, match="opset 23"):
        FuseAttention().ensures(model, make_context(tmp_path))
