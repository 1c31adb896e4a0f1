"""ReduceMean, Sub, Pow, Sqrt, Div, Mul, Add -> LayerNormalization."""

from __future__ import annotations

from typing import TYPE_CHECKING

from packc.passes.graph_pass import PassContext, PassError, PassReport, count_operators, report_fusion
from packc.passes.opset import refuse_opset

if TYPE_CHECKING:
    import onnx_ir as ir

NORMS_PER_LAYER = 2


class FuseLayerNorm:
    """Layer normalizations are one operator each; a transformer has at least two a layer."""

    name = "fuse_layer_norm"
    exact = True
    options: tuple[str, ...] = ()
    calibrates = False

    def requires(self, model: ir.Model, context: PassContext) -> str | None:
        return refuse_opset(model)

    def apply(self, model: ir.Model, context: PassContext) -> PassReport:
        from onnxscript.rewriter.rules.fusion._layer_norm import fuse_layer_normalization

        before = count_operators(model, "LayerNormalization")
        fuse_layer_normalization(model)
        fused = count_operators(model, "LayerNormalization")
        expected = NORMS_PER_LAYER * context.geometry.layers if context.geometry else None
        return report_fusion(self.name, "layer normalizations", fused, before, expected)

    def ensures(self, model: ir.Model, context: PassContext) -> None:
        for node in model.graph:
            if node.op_type == "LayerNormalization" and node.attributes.get_float("epsilon", 1e-5) < 0:
                raise PassError(f"{self.name}: {node.name} has a negative epsilon")
