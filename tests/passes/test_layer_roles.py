from __future__ import annotations

import pytest

from graphs import parse_graph, random_weights
from packc.passes.layer_roles import Role, find_roles
from packc.passes.linear_layers import find_linear_layers

BLOCK = """
   q{i} = MatMul(x{i}, wq)
   k{i} = MatMul(x{i}, wk)
   v{i} = MatMul(x{i}, wv)
   {core}
   o{i} = MatMul(c{i}, wo)
   r{i} = Add(x{i}, o{i})
   n{i} = LayerNormalization(r{i}, ln)
   u{i} = MatMul(n{i}, up)
   g{i} = Relu(u{i})
   d{i} = MatMul(g{i}, down)
   s{i} = Add(n{i}, d{i})
   x{next} = LayerNormalization(s{i}, ln)
"""
FUSED = "c{i} = Attention<q_num_heads = 2, kv_num_heads = 2>(q{i}, k{i}, v{i})"
SEPARATE = """t{i} = Transpose<perm = [0, 2, 1]>(k{i})
   a{i} = MatMul(q{i}, t{i})
   p{i} = Softmax<axis = -1>(a{i})
   c{i} = MatMul(p{i}, v{i})"""
WEIGHTS = {f"w{name}": random_weights(8, 8, seed=i) for i, name in enumerate("qkvo")} | {
    "up": random_weights(8, 16),
    "down": random_weights(16, 8),
    "ln": random_weights(8),
    "head": random_weights(8, 2),
}


def find(core: str) -> list[tuple[str, int | None]]:
    """Kinds and blocks of the layers of two blocks and a classifier."""
    blocks = "".join(BLOCK.format(i=i, next=i + 1, core=core.format(i=i)) for i in range(2))
    text = f"agraph (float[batch, length, 8] x0) => (float[batch, length, 2] y) {{ {blocks} y = MatMul(x2, head) }}"
    roles = find_roles(find_linear_layers(parse_graph(text, WEIGHTS, opset=23)))
    return [(role.kind, role.block) for role in roles]


@pytest.mark.parametrize(
    ("core", "into"),
    [(FUSED, ["attention query", "attention key", "attention value"]), (SEPARATE, ["attention in"] * 3)],
)
def test_the_parts_of_a_transformer_are_told_apart(core: str, into: list[str]) -> None:
    kinds = [*into, "attention out", "ffn up", "ffn down"]
    assert find(core) == [*((kind, 0) for kind in kinds), *((kind, 1) for kind in kinds), ("other", None)]


def test_feed_forwards_alone_are_blocks_too() -> None:
    text = """agraph (float[batch, 8] x) => (float[batch, 8] y) {
        a = MatMul(x, up)
        b = Relu(a)
        c = MatMul(b, down)
        d = MatMul(c, up)
        y = MatMul(d, down)
    }"""
    roles = find_roles(find_linear_layers(parse_graph(text, {"up": WEIGHTS["up"], "down": WEIGHTS["down"]})))
    assert roles == [Role("ffn up", 0), Role("ffn down", 0), Role("ffn up", 1), Role("ffn down", 1)]
