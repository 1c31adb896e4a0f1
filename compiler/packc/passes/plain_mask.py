"""Padding masks of attention in five small operators: 0 where a token may be seen, -10,000 where not.

Exporters write them as a dozen operators of ranges, indices and booleans, which make compilers for GPUs fail or split
their fused attention in two. What a mask hides is found by computing it (packc.passes.probe_values).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from packc.passes.graph_pass import PassContext, PassError, PassReport
from packc.passes.opset import refuse_older
from packc.passes.probe_values import compute_value, find_padding_mask, find_sources

if TYPE_CHECKING:
    import onnx_ir as ir

HIDDEN = -1e4
"""Added to the score of a token that nobody may see: e to its power is 0, and fp16 holds it."""
RANK = 4
"""Of scores: batch, heads, queries, keys."""
PRODUCTS = ("MatMul", "Gemm", "Einsum", "Attention")
OLDEST_OPSET = 13
"""The first in which Unsqueeze takes its axes as an input."""


class PlainMask:
    """What is added to scores in front of a Softmax, where it is a padding mask, comes of a Cast, a Sub and a Mul.

    Only a text without any token, which no tokenizer makes, gets another answer: it sees all of its padding.
    """

    name = "plain_mask"
    exact = True
    options: tuple[str, ...] = ()
    calibrates = False

    def requires(self, model: ir.Model, context: PassContext) -> str | None:
        return refuse_older(model, OLDEST_OPSET, "masks")

    def apply(self, model: ir.Model, context: PassContext) -> PassReport:
        import onnx_ir as ir
        from onnx_ir.passes import common

        biases = _find_biases(model)
        masks = {bias: mask for bias in biases if (mask := _read_mask(model, bias)) is not None}
        plain: dict[ir.Value, ir.Value] = {}
        for bias, mask in masks.items():
            if mask not in plain:
                plain[mask] = _add_plain(model, mask)
            ir.convenience.replace_all_uses_with(bias, plain[mask])
        common.RemoveUnusedNodesPass()(model)
        left = len(biases) - len(masks)
        warnings = (
            (f"{self.name}: {left} mask{'s' if left > 1 else ''} of another kind: the operators stay",) if left else ()
        )
        return PassReport(self.name, modified=bool(masks), fused=len(masks), warnings=warnings)

    def ensures(self, model: ir.Model, context: PassContext) -> None:
        for bias in _find_biases(model):
            maker = bias.producer()
            if _read_mask(model, bias) is not None and (maker is None or not str(maker.name).startswith(self.name)):
                raise PassError(f"{self.name}: {bias.name} is still a padding mask of another form")


def _find_biases(model: ir.Model) -> list[ir.Value]:
    """What is added to products in front of a Softmax and depends on the content of the graph's inputs, each once."""
    found: dict[ir.Value, None] = {}
    for node in model.graph:
        scores = node.inputs[0].producer() if node.op_type == "Softmax" and node.inputs[0] is not None else None
        if scores is None or scores.op_type != "Add":
            continue
        for value in scores.inputs:
            if value is not None and not _is_product(value) and find_sources(value):
                found[value] = None
    return list(found)


def _is_product(value: ir.Value) -> bool:
    """Whether a matrix product is among the operators that make it: scores, and no mask."""
    seen, waiting = {value}, [value]
    while waiting:
        node = waiting.pop().producer()
        if node is None:
            continue
        if node.op_type in PRODUCTS:
            return True
        for given in node.inputs:
            if given is not None and given not in seen:
                seen.add(given)
                waiting.append(given)
    return False


def _read_mask(model: ir.Model, bias: ir.Value) -> ir.Value | None:
    """The input [batch, sequence] that a bias of scores hides keys by; None where it is another bias."""
    mask = find_padding_mask(model, bias)
    if mask is None:
        return None
    added = compute_value(model, bias)
    return mask if added is not None and added.ndim == RANK else None


def _add_plain(model: ir.Model, mask: ir.Value) -> ir.Value:
    """The bias [batch, 1, 1, sequence] of a mask, at the beginning of the graph."""
    import onnx_ir as ir

    name = f"plain_mask_{mask.name}"
    constants = {"axes": np.array([1, 2], np.int64), "one": np.float32(1), "hidden": np.float32(HIDDEN)}
    stored = {what: ir.val(f"{name}_{what}", const_value=ir.tensor(np.asarray(a))) for what, a in constants.items()}
    for value in stored.values():
        model.graph.register_initializer(value)
    tape = ir.tape.Tape()
    seen = tape.op("Cast", [mask], attributes={"to": ir.DataType.BOOL})  # token ids hide by being 0 as well
    visible = tape.op("Cast", [seen], attributes={"to": ir.DataType.FLOAT})
    spread = tape.op("Unsqueeze", [visible, stored["axes"]])
    padding = tape.op("Sub", [stored["one"], spread])
    bias = tape.op("Mul", [padding, stored["hidden"]])
    assert mask.shape is not None, "token masks have two axes"
    rows, keys = mask.shape
    for node, value in zip(tape.nodes, (seen, visible, spread, padding, bias), strict=True):
        node.name = value.name = f"{name}_{node.op_type}{'_seen' if value is seen else ''}"
        value.dtype, value.shape = ir.DataType.FLOAT, ir.Shape([rows, 1, 1, keys])
    seen.dtype = ir.DataType.BOOL
    seen.shape = visible.shape = mask.shape
    model.graph.insert_before(model.graph[0], tape.nodes)
    return bias
