"""Finds the parts of a transformer whose inner width can shrink: attentions by the head, feed-forward by the neuron."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx_ir as ir

ACTIVATIONS = ("Gelu", "Relu", "Tanh", "Sigmoid", "Erf", "Elu", "LeakyRelu", "Softplus", "HardSwish", "Mish")

ROWS_ONLY = 2
"""Axes of a mask behind the heads: queries and keys. As many has an activation before its width: batch and tokens."""


@dataclass(frozen=True, slots=True)
class Projection:
    """activation x constant weights [inputs, outputs], plus a constant bias [outputs] where there is one."""

    node: ir.Node
    """The MatMul."""
    weights: ir.Value
    bias: ir.Value | None
    adder: ir.Node | None
    """The Add of the bias."""

    @property
    def output(self) -> ir.Value:
        return (self.adder or self.node).outputs[0]


@dataclass(frozen=True, slots=True)
class Block:
    """Projections into an inner width that one projection leads out of again, and nothing else reads."""

    into: tuple[Projection, ...]
    """Query, key and value; or the first layer of a feed-forward block."""
    out: Projection
    inner: tuple[ir.Node, ...]
    """What lies between, one output of the inner width each."""
    units: int
    """Heads or neurons."""
    unit_width: int
    """Columns of one unit: the width of a head, or 1."""

    @property
    def kind(self) -> str:
        return "feed-forward" if self.unit_width == 1 else "attention"


def find_blocks(model: ir.Model) -> list[Block]:
    """All of them, in the order of the graph."""
    outputs = set(model.graph.outputs)
    found = (_find_block(node, outputs) for node in model.graph)
    return [block for block in found if block is not None]


def _find_block(node: ir.Node, outputs: set[ir.Value]) -> Block | None:
    """The block whose way out begins at the product `node`."""
    out = _read_out(node)
    inner = node.inputs[0].producer() if out is not None and node.inputs[0] is not None else None
    if out is None or inner is None or inner.domain != "" or not _is_private(inner.outputs[0], outputs):
        return None
    match inner.op_type:
        case "Attention":
            block = _read_attention(inner, out)
        case operator if operator in ACTIVATIONS:
            into = read_projection(inner.inputs[0])
            block = Block((into,), out, (inner,), _width(into.weights), 1) if into is not None else None
        case _:
            return None
    if block is None or any(_width(into.weights) != block.units * block.unit_width for into in block.into):
        return None
    values = [value for into in block.into for value in (into.node.outputs[0], into.output)]
    return block if all(_is_private(value, outputs) for value in values) else None


def _read_attention(node: ir.Node, out: Projection) -> Block | None:
    """Of the standard's packed form [batch, tokens, heads x width], as many heads of key and value as of query."""
    heads = node.attributes.get_int("q_num_heads", 0)
    if not heads or heads != node.attributes.get_int("kv_num_heads", 0) or len(node.outputs) > 1:
        return None
    if len(node.inputs) > 3 and not _is_same_for_heads(node.inputs[3]):
        return None
    into = [read_projection(value) for value in node.inputs[:3]]
    if len({id(value) for value in node.inputs[:3]}) < 3 or any(projection is None for projection in into):
        return None
    projections = tuple(projection for projection in into if projection is not None)
    return Block(projections, out, (node,), heads, _width(projections[0].weights) // heads)


def _is_same_for_heads(mask: ir.Value | None) -> bool:
    """Whether a mask is known to say the same to every head; a position bias mostly does not."""
    if mask is None:
        return True
    expand = mask.producer()
    if expand is not None and expand.op_type == "Expand" and expand.inputs[1] is not None:
        rows = expand.inputs[1].shape
        if rows is not None and len(rows) == 1 and isinstance(rows[0], int) and rows[0] <= ROWS_ONLY:
            return _is_same_for_heads(expand.inputs[0])  # fuse_attention's, which gives every query a row
    return mask.shape is not None and (len(mask.shape) < 3 or (len(mask.shape) == 4 and mask.shape[1] == 1))


def read_projection(value: ir.Value | None) -> Projection | None:
    """The projection that makes `value`."""
    node = value.producer() if value is not None else None
    if node is None:
        return None
    if _is_product(node):
        return Projection(node, _constant(node.inputs[1]), None, None)
    if node.op_type == "Add" and node.domain == "":
        for product, bias in (node.inputs, node.inputs[::-1]):
            before = product.producer() if product is not None else None
            if before is not None and _is_product(before) and _is_vector(bias):
                return Projection(before, _constant(before.inputs[1]), bias, node)
    return None


def _read_out(node: ir.Node) -> Projection | None:
    """The projection that begins with `node`; its bias is known where nothing but its Add reads the product."""
    if not _is_product(node):
        return None
    weights = _constant(node.inputs[1])
    users = node.outputs[0].uses()
    if len(users) == 1 and (adder := next(iter(users)).node).op_type == "Add" and adder.domain == "":
        bias = adder.inputs[1 - next(iter(users)).idx]
        if _is_vector(bias):
            return Projection(node, weights, bias, adder)
    return Projection(node, weights, None, None)


def _is_product(node: ir.Node) -> bool:
    """A MatMul of an activation with a constant matrix."""
    if (node.op_type, node.domain) != ("MatMul", "") or node.inputs[0] is None or node.inputs[1] is None:
        return False
    tensor = node.inputs[1].const_value
    return node.inputs[0].const_value is None and tensor is not None and len(tensor.shape) == 2


def _is_vector(value: ir.Value | None) -> bool:
    return value is not None and value.const_value is not None and len(value.const_value.shape) == 1


def _is_private(value: ir.Value, outputs: set[ir.Value]) -> bool:
    """Whether one node reads it, besides those that only ask for its batch or its tokens."""
    return sum(not _reads_leading(use.node) for use in value.uses()) == 1 and value not in outputs


def _reads_leading(node: ir.Node) -> bool:
    return node.op_type == "Shape" and 0 < node.attributes.get_int("end", 0) <= ROWS_ONLY


def _constant(value: ir.Value | None) -> ir.Value:
    assert value is not None
    return value


def _width(weights: ir.Value) -> int:
    assert weights.const_value is not None
    return int(weights.const_value.numpy().shape[1])
