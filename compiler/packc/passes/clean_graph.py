"""Constant folding, shape inference, and one copy of whatever is computed or stored twice."""

from __future__ import annotations

from typing import TYPE_CHECKING

from packc.passes.graph_pass import PassContext, PassError, PassReport

if TYPE_CHECKING:
    import onnx_ir as ir


class CleanGraph:
    """Leaves no node that is constant, dead or a duplicate of another; shapes are known where they can be."""

    name = "clean_graph"
    exact = True
    options: tuple[str, ...] = ()
    calibrates = False

    def requires(self, model: ir.Model, context: PassContext) -> str | None:
        return None

    def apply(self, model: ir.Model, context: PassContext) -> PassReport:
        from onnx_ir.passes import common
        from onnxscript.optimizer import optimize
        from onnxscript.rewriter.ort_fusions import shape_optimization

        before = len(model.graph)
        common.ShapeInferencePass()(model)
        shape_optimization.rules.apply_to_model(model)
        optimize(model)
        common.DeduplicateInitializersPass()(model)
        common.CommonSubexpressionEliminationPass()(model)
        common.ClearMetadataAndDocStringPass()(model)
        removed = before - len(model.graph)
        return PassReport(self.name, modified=removed != 0, fused=removed)

    def ensures(self, model: ir.Model, context: PassContext) -> None:
        outputs = set(model.graph.outputs)
        for node in model.graph:
            if not any(value.uses() or value in outputs for value in node.outputs):
                raise PassError(f"{self.name}: node {node.name} ({node.op_type}) computes nothing that is used")
