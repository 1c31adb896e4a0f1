"""Erf or Tanh and the arithmetic around it -> Gelu (opset 20)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from packc.passes.graph_pass import PassContext, PassError, PassReport, count_operators
from packc.passes.opset import MICROSOFT, raise_opset, refuse_opset

if TYPE_CHECKING:
    import onnx_ir as ir

GELU_OPSET = 20
APPROXIMATIONS = {"Gelu": "none", "FastGelu": "tanh"}
"""ONNX Runtime's own operators, which the library's rules write -> `approximate` of the standard one."""


class FuseGelu:
    """Every GELU is one operator of the standard domain; no Erf is left over."""

    name = "fuse_gelu"
    exact = True
    options: tuple[str, ...] = ()
    calibrates = False

    def requires(self, model: ir.Model, context: PassContext) -> str | None:
        return refuse_opset(model)

    def apply(self, model: ir.Model, context: PassContext) -> PassReport:
        from onnxscript.rewriter.ort_fusions.erfgelu import fuse_erfgelu
        from onnxscript.rewriter.ort_fusions.gelu import fuse_gelu

        before = count_operators(model, "Gelu")
        fuse_erfgelu(model)
        fuse_gelu(model)
        _fuse_halved_input(model)
        raise_opset(model, GELU_OPSET)
        for node in list(model.graph):
            if node.domain == MICROSOFT and node.op_type in APPROXIMATIONS and len(node.inputs) == 1:
                _standardize(model, node)
        fused, left = count_operators(model, "Gelu"), count_operators(model, "Erf")
        warnings = (f"{self.name}: {left} Erf operators are in no GELU that is known",) if left else ()
        return PassReport(self.name, modified=fused != before, fused=fused, expected=fused + left, warnings=warnings)

    def ensures(self, model: ir.Model, context: PassContext) -> None:
        if count_operators(model, "Gelu") and model.opset_imports[""] < GELU_OPSET:
            raise PassError(f"{self.name}: Gelu needs opset {GELU_OPSET}, the graph has {model.opset_imports['']}")


def _fuse_halved_input(model: ir.Model) -> None:
    """(x / 2) (1 + tanh(...)), as transformers writes `gelu_new`: a form that the library's rules do not know."""
    from onnxscript.rewriter import pattern

    def halved(op, x):  # type: ignore[no-untyped-def]
        inner = op.Mul(math.sqrt(2 / math.pi), op.Add(x, op.Mul(0.044715, op.Pow(x, 3.0))))
        return op.Mul(op.Mul(0.5, x), op.Add(op.Tanh(inner), 1.0))

    def fused(op, x):  # type: ignore[no-untyped-def]
        return op.FastGelu(x, _domain=MICROSOFT)

    pattern.RewriteRuleSet([pattern.RewriteRule(halved, fused)], commute=True).apply_to_model(model)


def _standardize(model: ir.Model, node: ir.Node) -> None:
    """Replaces a GELU of ONNX Runtime's own domain by the standard one."""
    import onnx_ir as ir

    old = node.outputs[0]
    new = ir.node("Gelu", [node.inputs[0]], attributes={"approximate": APPROXIMATIONS[node.op_type]})
    new.outputs[0].shape, new.outputs[0].type = old.shape, old.type
    ir.convenience.replace_nodes_and_values(model.graph, node, [node], [new], [old], [new.outputs[0]])
