from __future__ import annotations

from pathlib import Path

from onnx_ir.passes.common import ShapeInferencePass

from graphs import apply_pass, make_context, parse_graph, random_weights
from packc.passes.blocks import find_blocks
from packc.passes.fuse_attention import FuseAttention
from shrinkable import FEED_FORWARD, make_attention_block, make_feed_forward


def test_a_feed_forward_block_is_found() -> None:
    (block,) = find_blocks(make_feed_forward())
    assert (block.kind, block.units, block.unit_width, len(block.into)) == ("feed-forward", 16, 1, 1)
    assert block.into[0].bias is not None
    assert block.out.bias is not None


def test_an_attention_is_found_once_it_is_fused(tmp_path: Path) -> None:
    model = make_attention_block()
    assert find_blocks(model) == []
    apply_pass(FuseAttention(), model, make_context(tmp_path))
    ShapeInferencePass()(model)
    (block,) = find_blocks(model)
    assert (block.kind, block.units, block.unit_width, len(block.into)) == ("attention", 2, 4, 3)


def test_a_block_that_others_read_is_left_alone() -> None:
    text = FEED_FORWARD.replace("=> (float[batch, 8] y)", "=> (float[batch, 8] y, float[batch, 16] a)")
    weights = {"up": random_weights(8, 16), "b": random_weights(16), "down": random_weights(16, 8)}
    assert find_blocks(parse_graph(text, {**weights, "c": random_weights(8)})) == []


def test_an_attention_with_a_bias_for_each_head_is_left_alone(tmp_path: Path) -> None:
    model = make_attention_block(heads_of_mask=2)
    apply_pass(FuseAttention(), model, make_context(tmp_path))
    ShapeInferencePass()(model)
    assert find_blocks(model) == []
