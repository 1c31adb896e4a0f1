"""MatMul, scale, mask, Softmax, MatMul and the transposes around them -> Attention (opset 23).

The standard operator, not ONNX Runtime's own ones: for 12 heads of 32 its CPU kernel takes 38 us where com.microsoft
MultiHeadAttention takes 64 and the separate operators 56 (1 x 32 tokens), and 353 where they take 445 and 425
(1 x 128 tokens; ONNX Runtime 1.31.1, AMD Zen 5, one thread).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from packc.passes.graph_pass import PassContext, PassError, PassReport, count_operators, report_fusion
from packc.passes.opset import raise_opset, refuse_opset

if TYPE_CHECKING:
    import onnx_ir as ir

ATTENTION_OPSET = 23
FUSION_DOMAIN = "ai.onnxruntime._fusion"
MULTI_HEAD_BIAS = 5
"""Input of com.microsoft MultiHeadAttention that is added to the scores."""


class FuseAttention:
    """Every attention that the library's rules recognise is one Attention of the standard domain."""

    name = "fuse_attention"
    exact = True
    options: tuple[str, ...] = ()
    calibrates = False

    def requires(self, model: ir.Model, context: PassContext) -> str | None:
        if not count_operators(model, "Softmax", "Attention"):
            return "the graph has no Softmax"
        return refuse_opset(model)

    def apply(self, model: ir.Model, context: PassContext) -> PassReport:
        from onnx_ir.passes import common
        from onnxscript.rewriter.ort_fusions.mha import fuse_mha1, fuse_mha2
        from onnxscript.rewriter.ort_fusions.mha_scale import fuse_mha_scale
        from onnxscript.rewriter.ort_fusions.sdpa import fuse_sdpa

        before = count_operators(model, "Attention")
        common.ShapeInferencePass()(model)
        _gather_score_biases(model)
        if fuse_sdpa(model, apply_shape_inference=True):
            for fuse in (fuse_mha1, fuse_mha2, fuse_mha_scale):
                fuse(model)
            raise_opset(model, ATTENTION_OPSET)
            for node in list(model.graph):
                if node.op_type == "MultiHeadAttention" or (node.op_type, node.domain) == ("SDPA", FUSION_DOMAIN):
                    _standardize(model, node)
            model.opset_imports.pop(FUSION_DOMAIN, None)
            common.RemoveUnusedNodesPass()(model)
            common.CommonSubexpressionEliminationPass()(model)
        fused = count_operators(model, "Attention")
        expected = context.geometry.layers if context.geometry else None
        return report_fusion(self.name, "attentions", fused, before, expected)

    def ensures(self, model: ir.Model, context: PassContext) -> None:
        for node in model.graph:
            if node.domain == FUSION_DOMAIN:
                raise PassError(f"{self.name}: {node.name} is still an intermediate {node.op_type}")
            if (node.op_type, node.domain) == ("Attention", "") and model.opset_imports[""] < ATTENTION_OPSET:
                raise PassError(f"{self.name}: Attention needs opset {ATTENTION_OPSET}")


def _gather_score_biases(model: ir.Model) -> None:
    """Softmax((scores + a) + b) -> Softmax(scores + (a + b)): the rules know one bias, models have a mask and more."""
    from onnxscript.rewriter import pattern

    def added_twice(op, scores, a, b):  # type: ignore[no-untyped-def]
        return op.Softmax(op.Add(op.Add(scores, a), b), _allow_other_attributes=True, _outputs=["weights"])

    def added_once(op, scores, a, b, weights):  # type: ignore[no-untyped-def]
        return op.Softmax(op.Add(scores, op.Add(a, b)), axis=weights.producer().attributes.get_int("axis", -1))

    def are_scores(context, scores, **_):  # type: ignore[no-untyped-def]
        producer = scores.producer()
        return producer is not None and producer.op_type in ("MatMul", "Mul", "Div")

    pattern.RewriteRule(added_twice, added_once, are_scores).apply_to_model(model)


def _standardize(model: ir.Model, node: ir.Node) -> None:
    """Replaces one attention of the library's domains by the standard operator."""
    import onnx_ir as ir

    tape = ir.tape.Tape()
    query, key, value, *others = node.inputs
    is_packed = node.op_type == "MultiHeadAttention"
    bias = others[MULTI_HEAD_BIAS - 3] if is_packed and len(others) > MULTI_HEAD_BIAS - 3 else None
    if is_packed and any(v is not None for v in others if v is not bias):
        raise PassError(f"fuse_attention: {node.name} has inputs that Attention does not take")
    attributes: dict[str, int | float] = {}
    if "scale" in node.attributes:
        attributes["scale"] = node.attributes.get_float("scale")
    if is_packed:
        heads = node.attributes.get_int("num_heads")
        attributes |= {"q_num_heads": heads, "kv_num_heads": heads}
    else:
        bias = others[0] if others else None
        if node.attributes.get_string("key_format") == "BSHd":
            key = tape.op("Transpose", [key], attributes={"perm": [0, 2, 1, 3]})
    if bias is not None and query is not None:
        bias = _spread_mask(tape, bias, query, sequence_axis=1 if is_packed else 2)
    old = node.outputs[0]
    new = tape.op("Attention", [query, key, value, *([bias] if bias is not None else [])], attributes=attributes)
    new.shape, new.type = old.shape, old.type
    ir.convenience.replace_nodes_and_values(model.graph, node, [node], tape.nodes, [old], [new])


def _spread_mask(tape: ir.tape.Tape, mask: ir.Value, query: ir.Value, sequence_axis: int) -> ir.Value:
    """`mask` with one row a query: the standard broadcasts that axis, ONNX Runtime's kernel does not."""
    if mask.shape is not None and query.shape is not None and len(mask.shape) > 1:
        rows, length = mask.shape[-2], query.shape[sequence_axis]
        if rows == length and rows != 1:
            return mask
    one = tape.op("Constant", [], attributes={"value_ints": [1]})
    length_value = tape.op("Shape", [query], attributes={"start": sequence_axis, "end": sequence_axis + 1})
    shape = tape.op("Concat", [length_value, one], attributes={"axis": 0})
    return tape.op("Expand", [mask, shape])
