"""Linear layers and embedding tables in int8, activations quantized as they come (one range a tensor and call)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from packc.passes.graph_pass import PassContext, PassError, PassReport, count_operators
from packc.passes.linear_layers import find_excluded
from packc.passes.model_file import MODEL_FILE, replace_model, save_model

if TYPE_CHECKING:
    import onnx_ir as ir

PRODUCTS = ("MatMul", "Gemm")


class QuantizeDynamic:
    """Every product with constant weights computes in int8, but those that `exclude` names.

    Options: `per_channel` (default true) gives each output channel its own scale; `exclude="ffn_down"` keeps the
    second projections of feed-forward blocks in fp32. Weights are signed: unsigned ones run 1.3 to 1.45 times slower.
    """

    name = "quantize_dynamic"
    exact = False
    options: tuple[str, ...] = ("per_channel", "exclude")
    calibrates = False

    def requires(self, model: ir.Model, context: PassContext) -> str | None:
        return None if count_products(model) else "the graph has no MatMul or Gemm with constant weights"

    def apply(self, model: ir.Model, context: PassContext) -> PassReport:
        import onnx
        from onnxruntime.quantization import QuantType, quantize_dynamic

        excluded = find_excluded(model, context)
        expected = count_products(model) - len(excluded)
        before, after = context.scratch / "float.onnx", context.scratch / MODEL_FILE
        is_large = save_model(model, before)
        quantize_dynamic(
            before,
            after,
            op_types_to_quantize=[*PRODUCTS, "Gather"],
            per_channel=bool(context.options.get("per_channel", True)),
            reduce_range=False,
            weight_type=QuantType.QInt8,
            nodes_to_exclude=excluded,
            use_external_data_format=is_large,
            extra_options={"MatMulConstBOnly": True, "DefaultTensorType": onnx.TensorProto.FLOAT},
        )
        replace_model(model, after)
        fused = count_operators(model, "MatMulInteger")
        warnings = (
            (f"{self.name}: {expected - fused} of {expected} linear layers stay in fp32",) if fused < expected else ()
        )
        return PassReport(self.name, modified=True, fused=fused, expected=expected, warnings=warnings)

    def ensures(self, model: ir.Model, context: PassContext) -> None:
        if not count_operators(model, "MatMulInteger"):
            raise PassError(f"{self.name}: no linear layer was quantized")


def count_products(model: ir.Model) -> int:
    """MatMul and Gemm nodes with constant weights."""
    return sum(
        node.op_type in PRODUCTS
        and node.domain == ""
        and node.inputs[1] is not None
        and node.inputs[1].const_value is not None
        for node in model.graph
    )
