"""Projections, Attention and its padding mask -> Attention of ONNX Runtime's own domain.

For ONNX Runtime's CUDA provider: one product makes query, key and value, one kernel adds their biases and puts the
heads apart, and with a mask that is a length a text the flash and fused kernels can be used; they take no other mask
(contrib_ops/cuda/bert/attention.cc). The standard operator takes 0.86 ms where this takes 0.53 (BERT-base in fp16, 1 x
128 tokens, CUDA graph, one H200).

Lengths say as much as a mask only where padding comes last, which is where tokenizers of encoders put it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from packc.passes.blocks import Projection, read_projection
from packc.passes.graph_pass import PassContext, PassError, PassReport, count_operators
from packc.passes.opset import MICROSOFT, use_microsoft
from packc.passes.probe_values import find_padding_mask, hides_nothing

if TYPE_CHECKING:
    import onnx_ir as ir

FORMS = ("lengths", "starts", "bias")
STARTS_WIDTH = 8
"""Values a head, of which the only kernels that know "starts" take multiples; others answer wrongly, without a word
(fp32 and heads of 4, on an H200)."""
MASK = 3
"""Input of the standard Attention that is added to the scores."""


class MergeAttention:
    """No Attention of the standard domain is left that has one row a token, heads side by side.

    `mask` is how lengths are told: "lengths" [batch], or "starts" [3 batch + 2], where each text begins as well, for
    graphs that become fp16: the kernels for fp32 do not know that form. "bias" leaves masks as they are, for padding
    that comes first, and takes kernels that are slower.
    """

    name = "merge_attention"
    exact = True
    options: tuple[str, ...] = ("mask",)
    calibrates = False

    def requires(self, model: ir.Model, context: PassContext) -> str | None:
        found = _find_attentions(model)
        if context.options.get("mask") == "starts" and any(_read_width(node) % STARTS_WIDTH for node in found):
            return f"lengths that tell where texts begin need heads of a multiple of {STARTS_WIDTH} values"
        return None if found else "the graph has no fused Attention"

    def apply(self, model: ir.Model, context: PassContext) -> PassReport:
        from onnx_ir.passes import common

        found = _find_attentions(model)
        merger = _Merger(model, str(context.options.get("mask", "lengths")))
        masks = {node: merger.read_mask(node) for node in found}  # all are probed before anything is changed
        loose = [node.name for node in found if not merger.merge(node, masks[node])]
        common.RemoveUnusedNodesPass()(model)
        left = count_operators(model, "Attention")
        warnings = [f"{self.name}: {left} attentions are of a form that has no kernel of its own"] if left else []
        if loose:
            warnings.append(f"{self.name}: {len(loose)} attentions read inputs of their own: three products each")
        if unknown := [node.name for node, mask in masks.items() if mask is not None and mask.lengths is None]:
            warnings.append(f"{self.name}: {len(unknown)} attentions have a mask that is no length: slower kernels")
        return PassReport(self.name, True, len(found), len(found) + left, tuple(warnings))

    def ensures(self, model: ir.Model, context: PassContext) -> None:
        if left := _find_attentions(model):
            raise PassError(f"{self.name}: {left[0].name} is still an Attention of the standard domain")


@dataclass(frozen=True, slots=True)
class _Mask:
    """What an attention may see: the lengths of texts, or else what is added to its scores."""

    lengths: ir.Value | None
    bias: ir.Value | None


def _find_attentions(model: ir.Model) -> list[ir.Node]:
    """[batch, tokens, heads x width] in and out, as many heads of key and value as of query, no past, not causal."""
    return [
        node
        for node in model.graph
        if (node.op_type, node.domain) == ("Attention", "")
        and node.attributes.get_int("q_num_heads", 0) > 0
        and node.attributes.get_int("q_num_heads", 0) == node.attributes.get_int("kv_num_heads", 0)
        and not node.attributes.get_int("is_causal", 0)
        and not node.attributes.get_float("softcap", 0.0)
        and not any(value is not None for value in node.inputs[MASK + 1 :])
        and not any(value.uses() for value in node.outputs[1:])
    ]


def _read_width(node: ir.Node) -> int:
    """Values a head of an attention; 1 where nobody knows."""
    shape = node.inputs[0].shape if node.inputs[0] is not None else None
    hidden = shape[-1] if shape is not None else None
    return hidden // node.attributes.get_int("q_num_heads", 1) if isinstance(hidden, int) else 1


class _Merger:
    """Makes each mask and each packed weight once."""

    def __init__(self, model: ir.Model, form: str) -> None:
        if form not in FORMS:
            raise PassError(f"merge_attention: mask is {' or '.join(FORMS)}, not {form!r}")
        self._model, self._form = model, form
        self._masks: dict[ir.Value, _Mask] = {}
        self._lengths: dict[ir.Value, ir.Value] = {}
        use_microsoft(model)

    def read_mask(self, node: ir.Node) -> _Mask | None:
        bias = node.inputs[MASK] if len(node.inputs) > MASK else None
        if bias is None:
            return None
        if bias not in self._masks:
            if hides_nothing(self._model, bias):
                return None
            source = None if self._form == "bias" else find_padding_mask(self._model, bias)
            self._masks[bias] = _Mask(None, bias) if source is None else _Mask(self._count(source), None)
        return self._masks[bias]

    def merge(self, node: ir.Node, mask: _Mask | None) -> bool:
        """Replaces one attention; says whether its projections became one product."""
        import onnx_ir as ir

        attributes: dict[str, int | float | list[int]] = {"num_heads": node.attributes.get_int("q_num_heads")}
        if "scale" in node.attributes:
            attributes["scale"] = node.attributes.get_float("scale")
        told = [None, None] if mask is None else [mask.lengths, mask.bias]
        into = self._read_projections(node)
        tape = ir.tape.Tape()
        if into:
            weights, bias, widths = self._pack(into)
            if len(set(widths)) > 1:
                attributes["qkv_hidden_sizes"] = widths
            activation = into[0].node.inputs[0]
            inputs, kind = [activation, weights, bias, told[0], None, told[1]], "Attention"
        else:
            inputs, kind = [*node.inputs[:MASK], None, *told], "MultiHeadAttention"
        while inputs[-1] is None:
            inputs.pop()
        new = tape.op(kind, inputs, attributes=attributes, domain=MICROSOFT)
        old = node.outputs[0]
        new.shape, new.type = old.shape, old.type
        ir.convenience.replace_nodes_and_values(self._model.graph, node, [node], tape.nodes, [old], [new])
        return bool(into)

    def _read_projections(self, node: ir.Node) -> list[Projection]:
        """Those of query, key and value where one activation goes into all; else none."""
        found = [read_projection(value) for value in node.inputs[:MASK]]
        into = [projection for projection in found if projection is not None]
        same = {projection.node.inputs[0] for projection in into}
        return into if len(into) == MASK and len(same) == 1 else []

    def _pack(self, into: list[Projection]) -> tuple[ir.Value, ir.Value, list[int]]:
        """Weights [inputs, query + key + value], their biases, and the three widths."""
        arrays = [_read_array(projection.weights) for projection in into]
        widths = [array.shape[1] for array in arrays]
        biases = [
            np.zeros(width, array.dtype) if projection.bias is None else _read_array(projection.bias)
            for projection, array, width in zip(into, arrays, widths, strict=True)
        ]
        name = into[0].node.name or "attention"
        weights = self._store(f"{name}_qkv_weights", np.concatenate(arrays, axis=1))
        return weights, self._store(f"{name}_qkv_bias", np.concatenate(biases)), widths

    def _store(self, name: str, array: npt.NDArray[Any]) -> ir.Value:
        import onnx_ir as ir

        value = ir.val(name, const_value=ir.tensor(array, name=name))
        self._model.graph.register_initializer(value)
        return value

    def _count(self, mask: ir.Value) -> ir.Value:
        """The number of tokens of each text, int32: of operators that run on the GPU, not of sizes."""
        import onnx_ir as ir

        if mask not in self._lengths:
            tape = ir.tape.Tape()
            rows = tape.op("Constant", [], attributes={"value_ints": [1]})
            seen = tape.op("Cast", [mask], attributes={"to": ir.DataType.BOOL})  # token ids hide by being 0 as well
            visible = tape.op("Cast", [seen], attributes={"to": ir.DataType.INT32})
            lengths = tape.op("ReduceSum", [visible, rows], attributes={"keepdims": 0})
            if self._form == "starts":
                lengths = self._add_starts(tape, visible, lengths, rows)
            self._model.graph.insert_before(self._model.graph[0], tape.nodes)
            self._lengths[mask] = lengths
        return self._lengths[mask]

    def _add_starts(self, tape: ir.tape.Tape, visible: ir.Value, lengths: ir.Value, rows: ir.Value) -> ir.Value:
        """Lengths, then twice where each text begins and the last one ends: multiples of the padded length."""
        import onnx_ir as ir

        zero = tape.op("Constant", [], attributes={"value": ir.tensor(np.zeros(1, np.int32))})
        one = tape.op("Constant", [], attributes={"value": ir.tensor(np.ones(1, np.int32))})
        axis = tape.op("Constant", [], attributes={"value_int": 0})
        ones = tape.op("Add", [tape.op("Mul", [visible, zero]), one])
        ends = tape.op("CumSum", [tape.op("ReduceSum", [ones, rows], attributes={"keepdims": 0}), axis])
        return tape.op("Concat", [lengths, zero, ends, zero, ends], attributes={"axis": 0})


def _read_array(value: ir.Value) -> npt.NDArray[Any]:
    assert value.const_value is not None
    return value.const_value.numpy()
