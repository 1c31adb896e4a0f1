"""Bias and residual Add in front of a LayerNormalization -> SkipLayerNormalization, for ONNX Runtime's CUDA provider.

One kernel instead of three that each read and write every activation. On CPUs `shield_layer_norm` does the opposite.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from packc.passes.graph_pass import PassContext, PassError, PassReport
from packc.passes.opset import MICROSOFT, use_microsoft

if TYPE_CHECKING:
    import onnx_ir as ir

AXES = 3
"""The kernel takes [batch, tokens, width]."""


class MergeSkipNorm:
    """No LayerNormalization over the last of three axes reads an Add of two activations of its shape."""

    name = "merge_skip_norm"
    exact = True
    options: tuple[str, ...] = ()
    calibrates = False

    def requires(self, model: ir.Model, context: PassContext) -> str | None:
        return None if _find_norms(model) else "no LayerNormalization has a residual in front of it"

    def apply(self, model: ir.Model, context: PassContext) -> PassReport:
        from onnx_ir.passes import common

        use_microsoft(model)
        found = _find_norms(model)
        for norm in found:
            _merge(model, norm)
        common.RemoveUnusedNodesPass()(model)
        return PassReport(self.name, modified=True, fused=len(found))

    def ensures(self, model: ir.Model, context: PassContext) -> None:
        for norm in _find_norms(model):
            raise PassError(f"{self.name}: {norm.name} still has a residual in front of it")


def _find_norms(model: ir.Model) -> list[ir.Node]:
    return [node for node in model.graph if _is_norm(node) and _read_residual(node) is not None]


def _is_norm(node: ir.Node) -> bool:
    if (node.op_type, node.domain) != ("LayerNormalization", "") or any(value.uses() for value in node.outputs[1:]):
        return False
    shape = node.inputs[0].shape if node.inputs[0] is not None else None
    return shape is not None and len(shape) == AXES and node.attributes.get_int("axis", -1) in (-1, AXES - 1)


def _read_residual(norm: ir.Node) -> ir.Node | None:
    """The Add of two activations of one shape that the normalization reads."""
    node = norm.inputs[0].producer() if norm.inputs[0] is not None else None
    if node is None or node.domain != "" or node.op_type not in ("Add", "Sum") or len(node.inputs) != 2:
        return None
    first, second = node.inputs
    if first is None or second is None or first.shape is None or first.shape != second.shape:
        return None
    return node if first.const_value is None and second.const_value is None else None


def _merge(model: ir.Model, norm: ir.Node) -> None:
    import onnx_ir as ir

    residual = _read_residual(norm)
    assert residual is not None
    input_value, skip, bias = _take_bias(residual)
    scale, *shift = norm.inputs[1:]
    inputs = [input_value, skip, scale, shift[0] if shift else None, bias]
    while inputs[-1] is None:
        inputs.pop()
    epsilon = norm.attributes.get_float("epsilon", 1e-5)
    merged = ir.node("SkipLayerNormalization", inputs, attributes={"epsilon": epsilon}, domain=MICROSOFT, num_outputs=4)
    old, total = norm.outputs[0], residual.outputs[0]
    for new, like in ((merged.outputs[0], old), (merged.outputs[3], total)):
        new.shape, new.type = like.shape, like.type
    merged.outputs[1].name = merged.outputs[2].name = ""
    replaced, made = [old], [merged.outputs[0]]
    if any(use.node is not norm for use in total.uses()) or total.is_graph_output():
        replaced.append(total)
        made.append(merged.outputs[3])
    else:
        merged.resize_outputs(1)
    ir.convenience.replace_nodes_and_values(model.graph, norm, [norm], [merged], replaced, made)


def _take_bias(residual: ir.Node) -> tuple[ir.Value, ir.Value, ir.Value | None]:
    """Both activations, one of them without the constant vector that only this Add reads it with; and that vector."""
    first, second = residual.inputs
    assert first is not None
    assert second is not None
    for biased, other in ((first, second), (second, first)):
        adder = biased.producer()
        if adder is None or (adder.op_type, adder.domain) != ("Add", "") or len(biased.uses()) != 1:
            continue
        for value, vector in (adder.inputs, adder.inputs[::-1]):
            if value is not None and value.const_value is None and _is_vector(vector):
                return value, other, vector
    return first, second, None


def _is_vector(value: ir.Value | None) -> bool:
    return value is not None and value.const_value is not None and len(value.const_value.shape) == 1
