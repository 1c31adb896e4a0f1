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
from packc.passes.merge_attention import MergeAttention

MASK = np.array([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]])
UNMASKED = """
agraph (float[batch, length, 8] x) => (float[batch, length, 8] y) {
   q0 = MatMul(x, wq)
   q = Add(q0, bq)
   k = MatMul(x, wk)
   v = MatMul(x, wv)
   y = Attention<q_num_heads = 2, kv_num_heads = 2, scale = 0.3>(q, k, v)
}
"""
OWN_KEYS = UNMASKED.replace("x) =>", "x, float[batch, length, 8] z) =>").replace("MatMul(x, wk)", "MatMul(z, wk)")
WEIGHTS = {f"w{name}": random_weights(8, 8, seed=i) for i, name in enumerate("qkv")} | {"bq": random_weights(8, seed=7)}
ONE_HEAD = ATTENTION.replace("{0, 0, 2, 4}", "{0, 0, 1, 8}")


def make_masked(tmp_path: Path, text: str = ATTENTION) -> ir.Model:
    model = make_attention(text)
    apply_pass(FuseAttention(), model, make_context(tmp_path))
    return model


@pytest.mark.parametrize("form", ["lengths", "starts"])
def test_merge_attention_takes_projections_and_a_padding_mask(tmp_path: Path, form: str) -> None:
    model = make_masked(tmp_path, ONE_HEAD)
    x = random_weights(2, 5, 8)
    before = run_model(model, x=x, mask=MASK)
    report = apply_pass(MergeAttention(), model, make_context(tmp_path, mask=form))
    nodes = count_nodes(model)
    assert [node.domain for node in model.graph if node.op_type == "Attention"] == ["com.microsoft"]
    assert nodes["MatMul"] == nodes["Where"] == nodes["Expand"] == nodes["Shape"] == 0
    assert (report.fused, report.expected, report.warnings) == (1, 1, ())
    np.testing.assert_allclose(run_model(model, x=x, mask=MASK)[0], before[0], atol=1e-5)


def test_merge_attention_says_lengths_in_int32_or_lengths_and_starts(tmp_path: Path) -> None:
    for form, expected in (("lengths", [5, 3]), ("starts", [5, 3, 0, 5, 10, 0, 5, 10])):
        model = make_masked(tmp_path, ONE_HEAD)
        apply_pass(MergeAttention(), model, make_context(tmp_path, mask=form))
        attention = next(node for node in model.graph if node.op_type == "Attention")
        told = attention.inputs[3]
        assert told is not None
        told.dtype, told.shape = ir.DataType.INT32, ir.Shape(["told"])
        model.graph.outputs.append(told)
        found = run_model(model, x=random_weights(2, 5, 8), mask=MASK)[1]
        assert found.dtype == np.int32
        assert found.tolist() == expected


def test_starts_are_for_heads_that_their_kernels_take(tmp_path: Path) -> None:
    reason = MergeAttention().requires(make_masked(tmp_path), make_context(tmp_path, mask="starts"))
    assert reason == "lengths that tell where texts begin need heads of a multiple of 8 values"


def test_merge_attention_leaves_padding_that_comes_first_where_masks_stay_as_they_are(tmp_path: Path) -> None:
    model, lengths = make_masked(tmp_path), make_masked(tmp_path)
    x, mask = random_weights(2, 5, 8), np.array([[1, 1, 1, 1, 1], [0, 0, 1, 1, 1]])
    before = run_model(model, x=x, mask=mask)[0]
    apply_pass(MergeAttention(), model, make_context(tmp_path, mask="bias"))
    np.testing.assert_allclose(run_model(model, x=x, mask=mask)[0], before, atol=1e-5)
    apply_pass(MergeAttention(), lengths, make_context(tmp_path, mask="lengths"))
    assert np.abs(run_model(lengths, x=x, mask=mask)[0] - before).max() > 0.01


def test_merge_attention_without_mask_keeps_biases_and_the_scale(tmp_path: Path) -> None:
    model = parse_graph(UNMASKED, WEIGHTS, opset=23)
    x = random_weights(2, 5, 8)
    before = run_model(model, x=x)
    apply_pass(MergeAttention(), model, make_context(tmp_path))
    assert count_nodes(model) == {"Attention": 1}
    np.testing.assert_allclose(run_model(model, x=x)[0], before[0], atol=1e-5)


def test_merge_attention_keeps_products_apart_that_read_different_inputs(tmp_path: Path) -> None:
    model = parse_graph(OWN_KEYS, WEIGHTS, opset=23)
    inputs = {"x": random_weights(2, 5, 8), "z": random_weights(2, 5, 8, seed=5)}
    before = run_model(model, **inputs)
    report = apply_pass(MergeAttention(), model, make_context(tmp_path))
    assert count_nodes(model)["MultiHeadAttention"] == 1
    assert report.warnings == ("merge_attention: 1 attentions read inputs of their own: three products each",)
    np.testing.assert_allclose(run_model(model, **inputs)[0], before[0], atol=1e-5)


def test_merge_attention_adds_a_bias_that_is_no_padding_mask(tmp_path: Path) -> None:
    text = ATTENTION.replace("int64[batch, length] mask)", "float[batch, 1, length, length] bias)")
    text = "\n".join(line for line in text.splitlines() if "visible" not in line)
    model = make_masked(tmp_path, text)
    inputs = {"x": random_weights(2, 5, 8), "bias": random_weights(2, 1, 5, 5, seed=6)}
    before = run_model(model, **inputs)
    report = apply_pass(MergeAttention(), model, make_context(tmp_path))
    assert report.warnings == ("merge_attention: 1 attentions have a mask that is no length: slower kernels",)
    np.testing.assert_allclose(run_model(model, **inputs)[0], before[0], atol=1e-5)


def test_merge_attention_leaves_causal_attention_alone(tmp_path: Path) -> None:
    model = parse_graph(UNMASKED.replace("scale", "is_causal = 1, scale"), WEIGHTS, opset=23)
    assert MergeAttention().requires(model, make_context(tmp_path)) == "the graph has no fused Attention"


def test_merge_attention_refuses_another_form_of_mask(tmp_path: Path) -> None:
    with pytest.raises(PassError, match="mask is lengths or starts or bias, not 'ends'"):
        MergeAttention().apply(make_masked(tmp_path), make_context(tmp_path, mask="ends"))


def test_merge_attention_ensures_that_none_is_left(tmp_path: Path) -> None:
    with pytest.raises(PassError, match="is still an Attention of the standard domain"):
        MergeAttention().ensures(make_masked(tmp_path), make_context(tmp_path))
