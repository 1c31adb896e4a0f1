"""Weights and computation in fp16; inputs and outputs stay fp32."""

from __future__ import annotations

from typing import TYPE_CHECKING

from packc.passes.graph_pass import PassContext, PassError, PassReport
from packc.passes.model_file import MODEL_FILE, replace_model, save_model

if TYPE_CHECKING:
    import onnx_ir as ir


class CastFp16:
    """All fp32 weights are fp16, those of operators that know no fp16 apart; values beyond its range are clamped."""

    name = "cast_fp16"
    exact = False
    options: tuple[str, ...] = ()
    calibrates = False

    def requires(self, model: ir.Model, context: PassContext) -> str | None:
        return None if count_weights(model, "FLOAT") else "the graph has no fp32 weights"

    def apply(self, model: ir.Model, context: PassContext) -> PassReport:
        import onnx
        from onnxruntime.transformers.float16 import convert_float_to_float16

        before, after = context.scratch / "float.onnx", context.scratch / MODEL_FILE
        is_large = save_model(model, before)
        converted = convert_float_to_float16(str(before), keep_io_types=True)
        onnx.save(converted, after, save_as_external_data=is_large, location=f"{MODEL_FILE}.data")
        del converted
        replace_model(model, after)
        model.graph.sort()  # the converter leaves casts behind those that read them
        return PassReport(self.name, modified=True, fused=count_weights(model, "FLOAT16"))

    def ensures(self, model: ir.Model, context: PassContext) -> None:
        if not count_weights(model, "FLOAT16"):
            raise PassError(f"{self.name}: no weight became fp16")


def count_weights(model: ir.Model, data_type: str) -> int:
    """Initializers of the onnx_ir data type of that name."""
    return sum(value.dtype is not None and value.dtype.name == data_type for value in model.graph.initializers.values())
