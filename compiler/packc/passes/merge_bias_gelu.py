"""Bias Add and Gelu -> BiasGelu (exact) or FastGelu (tanh) of ONNX Runtime's own domain, for its CUDA provider."""

from __future__ import annotations

from typing import TYPE_CHECKING

from packc.passes.graph_pass import PassContext, PassError, PassReport, count_operators
from packc.passes.opset import MICROSOFT, use_microsoft

if TYPE_CHECKING:
    import onnx_ir as ir

OPERATORS = {"none": "BiasGelu", "tanh": "FastGelu"}
"""`approximate` of the standard Gelu -> the operator that adds a bias first."""


class MergeBiasGelu:
    """No Gelu reads an Add of a constant vector that nobody else reads."""

    name = "merge_bias_gelu"
    exact = True
    options: tuple[str, ...] = ()
    calibrates = False

    def requires(self, model: ir.Model, context: PassContext) -> str | None:
        return None if any(map(_read_bias, model.graph)) else "no Gelu has a bias in front of it"

    def apply(self, model: ir.Model, context: PassContext) -> PassReport:
        import onnx_ir as ir

        use_microsoft(model)
        fused, gelus = 0, count_operators(model, "Gelu")
        for node in list(model.graph):
            if (found := _read_bias(node)) is None:
                continue
            adder, value, bias = found
            kind = OPERATORS[node.attributes.get_string("approximate", "none")]
            new = ir.node(kind, [value, bias], domain=MICROSOFT)
            old = node.outputs[0]
            new.outputs[0].shape, new.outputs[0].type = old.shape, old.type
            ir.convenience.replace_nodes_and_values(model.graph, node, [node, adder], [new], [old], [new.outputs[0]])
            fused += 1
        return PassReport(self.name, modified=True, fused=fused, expected=gelus)

    def ensures(self, model: ir.Model, context: PassContext) -> None:
        for node in model.graph:
            if _read_bias(node) is not None:
                raise PassError(f"{self.name}: {node.name} still has a bias in front of it")


def _read_bias(node: ir.Node) -> tuple[ir.Node, ir.Value, ir.Value] | None:
    """The Add in front of a Gelu, the activation that it reads, and its constant vector."""
    if (node.op_type, node.domain) != ("Gelu", "") or node.inputs[0] is None:
        return None
    adder = node.inputs[0].producer()
    if adder is None or (adder.op_type, adder.domain) != ("Add", "") or len(node.inputs[0].uses()) != 1:
        return None
    if node.inputs[0].is_graph_output():
        return None
    for value, bias in (adder.inputs, adder.inputs[::-1]):
        if value is not None and bias is not None and bias.const_value is not None and value.const_value is None:
            return (adder, value, bias) if len(bias.const_value.shape) == 1 else None
    return None
