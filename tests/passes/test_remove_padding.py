from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest
from onnx_ir.passes.common import ShapeInferencePass

from graphs import apply_pass, make_context, parse_graph, random_weights, run_model
from packc.passes.remove_padding import RemovePadding

HEAD = """agraph (int64[batch, sequence] input_ids, int64[batch, sequence] attention_mask) => (float[batch, 8] answer)
<int64[1] last = {2}, int64[1] middle = {1}, int64[2] heads = {1, 2}, int64[1] one = {1}, int64 first = {0}>
{
  kept = Cast<to = 9>(attention_mask)
  seen = Unsqueeze(kept, heads)
  e = Gather(table, input_ids)
  h = LayerNormalization<axis = 2>(e, scale, shift)
"""
LAYER = """
  q = MatMul(h, wq)
  k = MatMul(h, wk)
  biased = Add(q, shift)
  length = Shape<start = 1, end = 2>(attention_mask)
  size = Shape<start = 0, end = 1>(attention_mask)
  full = Concat<axis = 0>(size, one, length, length)
  mask = Expand(seen, full)
  a = Attention<q_num_heads = 2, kv_num_heads = 2>(biased, k, h, mask)
  o = MatMul(a, wk)
  r = Sum(o, h)
  n = LayerNormalization<axis = -1>(r, scale, shift)
"""
MEAN = """
  m = Cast<to = 1>(attention_mask)
  m3 = Unsqueeze(m, last)
  real = Mul(n, m3)
  answer = ReduceSum<keepdims = 0>(real, middle)
}"""
NOT_MASK = "not_m3 = Sub(m3, m3)\n"
"""Made from the mask, and not zero where it is, for all that the pass can know."""
FIRST = "  answer = Gather<axis = 1>(n, first) }"
WEIGHTS = {
    "table": random_weights(20, 8),
    "scale": np.ones(8, np.float32),
    "shift": random_weights(8, seed=1),
    "wq": random_weights(8, 8, seed=2),
    "wk": random_weights(8, 8, seed=3),
}


def make_graph(layer: str = LAYER, pooling: str = MEAN, head: str = HEAD) -> ir.Model:
    model = parse_graph(head + layer + pooling, WEIGHTS, opset=23)
    ShapeInferencePass()(model)
    return model


def make_inputs(lengths: list[int], left: bool = False) -> dict[str, np.ndarray]:
    ids = np.random.default_rng(0).integers(0, 20, (len(lengths), max(lengths)))
    mask = np.array([[1] * n + [0] * (max(lengths) - n) for n in lengths])
    return {"input_ids": ids, "attention_mask": mask[:, ::-1].copy() if left else mask}


@pytest.mark.parametrize("pooling", [MEAN, FIRST])
@pytest.mark.parametrize("lengths", [[4], [1], [2, 5, 3], [1, 1]])
def test_answers_are_those_of_the_padded_graph(pooling: str, lengths: list[int], tmp_path: Path) -> None:
    model, changed = make_graph(pooling=pooling), make_graph(pooling=pooling)
    report = apply_pass(RemovePadding(), changed, make_context(tmp_path))
    assert report.fused == 7  # two norms, three products, a bias, a residual
    for left in (False, True) if pooling == MEAN else (False,):
        inputs = make_inputs(lengths, left)
        np.testing.assert_allclose(run_model(changed, **inputs)[0], run_model(model, **inputs)[0], atol=1e-5)


def test_only_attention_and_pooling_see_the_padding(tmp_path: Path) -> None:
    model = make_graph()
    apply_pass(RemovePadding(), model, make_context(tmp_path))
    padded = [node.op_type for node in model.graph if node.outputs[0].shape and len(node.outputs[0].shape) == 3]
    assert sorted(padded) == ["Attention", "Gather", "Gather", "Gather", "Gather", "Gather", "Mul", "Unsqueeze"]
    assert [value.name for value in model.graph.inputs] == ["input_ids", "attention_mask"]


@pytest.mark.parametrize(
    ("graph", "reason"),
    [
        ({"pooling": "answer = ReduceSum<keepdims = 0>(n, middle) }"}, "ReduceSum.* may look at padded positions"),
        ({"pooling": MEAN.replace("(n, m3)", "(n, not_m3)").replace("real =", f"{NOT_MASK} real =")}, "Mul.* may look"),
        (
            {
                "pooling": FIRST.replace("first)", "last_token)"),
                "head": HEAD.replace("first =", "last_token = {-1}, int64 first ="),
            },
            "Gather.* may look",
        ),
        ({"layer": LAYER.replace("h, mask)", "h)")}, "not masked by attention_mask alone"),
        ({"layer": LAYER.replace("= 2>(biased", "= 2, is_causal = 1>(biased")}, "is causal"),
        ({"layer": "  n = MatMul(h, wq)\n"}, "no fused Attention"),
        (
            {
                "head": HEAD.replace("attention_mask", "seen_mask"),
                "layer": LAYER.replace("attention_mask", "seen_mask"),
                "pooling": FIRST,
            },
            "no input attention_mask",
        ),
    ],
)
def test_what_may_depend_on_padding_is_refused(graph: dict[str, str], reason: str, tmp_path: Path) -> None:
    found = RemovePadding().requires(make_graph(**graph), make_context(tmp_path))
    assert found is not None
    assert re.search(reason, found), found


def test_a_norm_over_more_than_the_row_is_not_token_wise(tmp_path: Path) -> None:
    model = make_graph()
    norm = [node for node in model.graph if node.op_type == "LayerNormalization"][-1]
    norm.attributes["axis"] = ir.AttrInt64("axis", 1)
    assert "may look at padded positions" in str(RemovePadding().requires(model, make_context(tmp_path)))


def test_an_answer_for_each_token_is_refused(tmp_path: Path) -> None:
    head = HEAD.replace("float[batch, 8] answer", "float[batch, sequence, 8] answer")
    model = make_graph(pooling="  answer = Add(n, shift) }", head=head)
    assert RemovePadding().requires(model, make_context(tmp_path)) == (
        "an output has an answer for each token, padding included"
    )
