"""Which part of a transformer each linear layer is, told from the graph around it, not from names or widths."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from packc.passes.linear_layers import LinearLayer
from packc.passes.sensitivity import LayerKind

if TYPE_CHECKING:
    import onnx_ir as ir

ATTENTIONS = ("Attention", "MultiHeadAttention")
NORMS = ("LayerNormalization", "SkipLayerNormalization", "RMSNormalization", "SimplifiedLayerNormalization")
"""Where a search for the neighbours of a layer ends: behind a norm the next part of a block begins."""
INTO_ATTENTION: tuple[LayerKind, ...] = ("attention query", "attention key", "attention value")


@dataclass(frozen=True, slots=True)
class Role:
    """The part that a layer plays, and in which block, counted from 0 (None outside the blocks)."""

    kind: LayerKind
    block: int | None


def find_roles(layers: Sequence[LinearLayer]) -> list[Role]:
    """The role of each layer, in their order, which is that of the graph."""
    nodes = {layer.node: index for index, layer in enumerate(layers)}
    kinds: list[LayerKind] = [_find_attention_kind(layer, nodes) for layer in layers]
    for index, layer in enumerate(layers):
        if kinds[index] == "other" and (down := _find_down(layer, layers, nodes)) is not None:
            kinds[index], kinds[down] = "ffn up", "ffn down"
    return _count_blocks(kinds)


def _find_attention_kind(layer: LinearLayer, nodes: Mapping[ir.Node, int]) -> LayerKind:
    for node, value in _walk(layer.node.outputs, nodes, _consumers):
        if node.op_type in ATTENTIONS:
            place = list(node.inputs).index(value)
            return INTO_ATTENTION[place] if place < len(INTO_ATTENTION) else "attention in"
        if _is_product(node):
            return "attention in"
    for node, _ in _walk([layer.activation], nodes, _producers):
        if node.op_type in ATTENTIONS or _is_product(node):
            return "attention out"
    return "other"


def _find_down(layer: LinearLayer, layers: Sequence[LinearLayer], nodes: Mapping[ir.Node, int]) -> int | None:
    """The layer that leads back from the wider output of this one, if there is one."""
    if layer.outputs <= layer.inputs:
        return None
    for node, _ in _walk(layer.node.outputs, nodes, _consumers):
        found = nodes.get(node)
        if found is not None and (layers[found].inputs, layers[found].outputs) == (layer.outputs, layer.inputs):
            return found
    return None


def _count_blocks(kinds: Sequence[LayerKind]) -> list[Role]:
    """A block begins with the first layer into an attention, or, without attentions, with each feed-forward."""
    has_attention = any(kind.startswith("attention") for kind in kinds)
    roles: list[Role] = []
    block, before = -1, "other"
    for kind in kinds:
        is_into = kind in ("attention in", *INTO_ATTENTION)
        was_into = before in ("attention in", *INTO_ATTENTION)
        if (is_into and not was_into) or (kind == "ffn up" and not has_attention):
            block += 1
        roles.append(Role(kind, max(block, 0) if kind != "other" else None))
        before = kind
    return roles


Step = Callable[["ir.Value"], Iterable[tuple["ir.Node", Sequence["ir.Value"]]]]


def _walk(start: Iterable[ir.Value], nodes: Mapping[ir.Node, int], step: Step) -> Iterable[tuple[ir.Node, ir.Value]]:
    """Nodes reached from `start`, each with the value that led there; none beyond a linear layer, norm or product."""
    waiting, seen = list(start), set()
    while waiting:
        value = waiting.pop(0)
        for node, onward in step(value):
            if node in seen:
                continue
            seen.add(node)
            yield node, value
            if node not in nodes and node.op_type not in (*NORMS, *ATTENTIONS, "Softmax") and not _is_product(node):
                waiting += onward


def _consumers(value: ir.Value) -> Iterable[tuple[ir.Node, Sequence[ir.Value]]]:
    return [(node, node.outputs) for node, _ in value.uses()]


def _producers(value: ir.Value) -> Iterable[tuple[ir.Node, Sequence[ir.Value]]]:
    node = value.producer()
    return [] if node is None else [(node, [item for item in node.inputs if item is not None])]


def _is_product(node: ir.Node) -> bool:
    """A MatMul of two activations: the core of an attention that is not fused."""
    return node.op_type == "MatMul" and all(value is not None and value.const_value is None for value in node.inputs)
