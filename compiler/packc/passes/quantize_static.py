"""QuantizeLinear and DequantizeLinear around convolutions and linear layers, ranges taken from calibration data."""

from __future__ import annotations

from typing import TYPE_CHECKING

from packc.passes.graph_pass import PassContext, PassError, PassReport, count_operators
from packc.passes.linear_layers import find_excluded
from packc.passes.model_file import MODEL_FILE, replace_model, save_model
from packc.passes.opset import refuse_older
from packc.samples import Sample, load_samples

if TYPE_CHECKING:
    import onnx_ir as ir

CONVOLUTIONAL = (
    "Conv",
    "Gemm",
    "MatMul",
    "Add",
    "Relu",
    "Clip",
    "MaxPool",
    "AveragePool",
    "GlobalAveragePool",
    "Concat",
)
"""With convolutions, all that lies between them stays in int8 too."""

OLDEST_OPSET = 13
"""The first whose QuantizeLinear has an axis."""

LINEAR = ("MatMul", "Gemm")
"""Without them, linear layers alone: quantizing everything breaks transformers."""


FUSED_INT8 = ("Conv", *LINEAR, "Add")
"""With convolutions, in the symmetric form: TensorRT moves pairs through what lies between them itself."""

SYMMETRIC = {
    "ActivationSymmetric": True,
    "WeightSymmetric": True,
    "AddQDQPairToWeight": True,
    "DedicatedQDQPair": True,
    "QuantizeBias": False,
    "OpTypesToExcludeOutputQuantization": list(FUSED_INT8),
}
"""Options of ONNX Runtime's quantizer. Outputs are quantized where the next operator reads them, not before."""


class QuantizeStatic:
    """Weights in S8, one scale a channel; activations in U8 with fixed ranges: the pair that is fast on x86 and Arm.

    Options: `exclude="ffn_down"` keeps the second projections of feed-forward blocks in fp32; `reduce_range`
    (default false) keeps weights in 7 bits, for x86 CPUs without VNNI: quantize_dynamic says why. `symmetric` (default
    false) is the form that TensorRT reads: activations in S8 too, every zero point 0, a pair of operators in front of
    each input, weights included, and biases in fp32.
    """

    name = "quantize_static"
    exact = False
    options: tuple[str, ...] = ("exclude", "reduce_range", "symmetric")
    calibrates = True

    def requires(self, model: ir.Model, context: PassContext) -> str | None:
        if not count_operators(model, "Conv", *LINEAR):
            return "the graph has no Conv, MatMul or Gemm"
        return refuse_older(model, OLDEST_OPSET, "a scale for each channel")

    def apply(self, model: ir.Model, context: PassContext) -> PassReport:
        from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

        class SampleReader(CalibrationDataReader):  # type: ignore[misc]
            """The calibration samples, one by one."""

            def __init__(self, samples: list[dict[str, object]]) -> None:
                self._samples = iter(samples)

            def get_next(self) -> dict[str, object] | None:
                return next(self._samples, None)

        samples: list[Sample] = list(load_samples(context.calibration))
        if not samples:
            raise PassError(f"{self.name}: there are no calibration samples")
        excluded = find_excluded(model, context)
        before, after = context.scratch / "float.onnx", context.scratch / MODEL_FILE
        is_large = save_model(model, before)
        is_symmetric = bool(context.options.get("symmetric", False))
        quantize_static(
            before,
            after,
            SampleReader([dict(sample) for sample in samples]),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=list(_choose_operators(model, is_symmetric)),
            per_channel=True,
            reduce_range=bool(context.options.get("reduce_range", False)),
            activation_type=QuantType.QInt8 if is_symmetric else QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            nodes_to_exclude=excluded,
            use_external_data_format=is_large,
            extra_options={"MatMulConstBOnly": True, **(SYMMETRIC if is_symmetric else {})},
        )
        replace_model(model, after)
        return PassReport(self.name, modified=True, fused=count_operators(model, "QuantizeLinear"))

    def ensures(self, model: ir.Model, context: PassContext) -> None:
        if not count_operators(model, "QuantizeLinear"):
            raise PassError(f"{self.name}: no activation was quantized")


def _choose_operators(model: ir.Model, is_symmetric: bool) -> tuple[str, ...]:
    if count_operators(model, "Conv") <= 1:
        return LINEAR
    return FUSED_INT8 if is_symmetric else CONVOLUTIONAL
