"""The smallest graphs whose inner width can shrink."""

from __future__ import annotations

import onnx_ir as ir

from graphs import ATTENTION, Array, parse_graph, random_weights

FEED_FORWARD = """
agraph (float[batch, 8] x) => (float[batch, 8] y) {
   u0 = MatMul(x, up)
   u = Add(u0, b)
   a = Relu(u)
   d = MatMul(a, down)
   y = Add(d, c)
}
"""


def make_feed_forward(**weights: Array) -> ir.Model:
    """8 -> 16 neurons -> 8; `weights` in the place of random ones."""
    own = {"up": random_weights(8, 16), "b": random_weights(16, seed=1), "down": random_weights(16, 8, seed=2)}
    return parse_graph(FEED_FORWARD, {**own, "c": random_weights(8, seed=3), **weights})


def make_attention_block(heads_of_mask: int = 1, **weights: Array) -> ir.Model:
    """Two heads of 4 and the projection out of them; a mask of two heads is an input of its own."""
    text = ATTENTION.replace(
        "y = Reshape(o1, join)", "joined = Reshape(o1, join)\n y0 = MatMul(joined, wo)\n y = Add(y0, c)"
    )
    if heads_of_mask == 2:
        text = text.replace("mask)", "mask, float[1, 2, length, length] position)", 1)
        text = text.replace(
            "scores = Add(scores1, bias)", "biased = Add(scores1, position)\n scores = Add(biased, bias)"
        )
    own: dict[str, Array] = {f"w{name}": random_weights(8, 8, seed=i) for i, name in enumerate("qkvo")}
    return parse_graph(text, {**own, "c": random_weights(8, seed=9), **weights})
