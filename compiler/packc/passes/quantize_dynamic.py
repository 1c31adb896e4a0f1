"""Linear layers and embedding tables in int8, activations quantized as they come (one range a tensor and call).

The graph is what onnxruntime.quantization.quantize_dynamic makes, which ONNX Runtime turns into MatMulIntegerToFloat
when it loads it. Written here because the library takes one channel at a time in Python, the whole model in memory
three times: 3.7 s for all-MiniLM-L6-v2, where this takes 0.3.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from packc.passes.graph_pass import PassContext, PassError, PassReport, count_operators
from packc.passes.linear_layers import find_excluded, find_gemms, find_linear_layers, split_gemms
from packc.passes.opset import refuse_older
from packc.passes.quantized_weights import (
    LARGEST,
    add_weights,
    drop_unused_weights,
    quantize_symmetric,
    quantize_tables,
    replace_node,
)

if TYPE_CHECKING:
    import onnx_ir as ir

    from packc.passes.linear_layers import LinearLayer

OLDEST_OPSET = 11
"""The first with DynamicQuantizeLinear."""

LARGEST_REDUCED = 63
"""In 7 bits the sum of two products with uint8 fits 16 bits, where x86 CPUs without VNNI keep it: 2 x 255 x 63 = 32130
of 32767. Larger sums saturate there without a word."""


@dataclass(frozen=True, slots=True)
class WeightForm:
    """How the weights of a product are written down."""

    per_channel: bool
    largest: int
    is_unsigned: bool

    @property
    def zero_point(self) -> int:
        return 128 if self.is_unsigned else 0

    def quantize(
        self, weights: npt.NDArray[np.float32]
    ) -> tuple[npt.NDArray[np.int8] | npt.NDArray[np.uint8], npt.NDArray[np.float32]]:
        """Weights [inputs, outputs] in 8 bits, and their scales [outputs] or one scale []."""
        signed, scale = quantize_symmetric(weights, 0 if self.per_channel else None, self.largest)
        numbers = (signed.astype(np.int16) + self.zero_point).astype(np.uint8) if self.is_unsigned else signed
        return numbers, scale.reshape(-1) if self.per_channel else scale


class QuantizeDynamic:
    """Every product with constant weights computes in int8, but those that `exclude` names; tables are int8 by row.

    Options: `per_channel` (default true) gives each output channel its own scale; `exclude="ffn_down"` keeps the
    second projections of feed-forward blocks in fp32; `reduce_range` (default false) keeps weights of products in 7
    bits; `unsigned` (default false) has them in uint8 around 128. Those take 1.25 times as long, and 1.3 to 1.45 times
    on CPUs with VNNI, but their sums of 8 bits are exact on CPUs without it.
    """

    name = "quantize_dynamic"
    exact = False
    options: tuple[str, ...] = ("per_channel", "exclude", "reduce_range", "unsigned")
    calibrates = False

    def requires(self, model: ir.Model, context: PassContext) -> str | None:
        if find_linear_layers(model) or find_gemms(model):
            return refuse_older(model, OLDEST_OPSET, "DynamicQuantizeLinear")
        return "the graph has no MatMul or Gemm with constant weights"

    def apply(self, model: ir.Model, context: PassContext) -> PassReport:
        split_gemms(model)
        form = WeightForm(
            per_channel=bool(context.options.get("per_channel", True)),
            largest=LARGEST_REDUCED if context.options.get("reduce_range", False) else LARGEST,
            is_unsigned=bool(context.options.get("unsigned", False)),
        )
        excluded = set(find_excluded(model, context))
        layers = [layer for layer in find_linear_layers(model) if layer.node.name not in excluded]
        activations: dict[ir.Value, tuple[ir.Value, ir.Value, ir.Value]] = {}
        for layer in layers:
            if layer.activation not in activations:
                activations[layer.activation] = _quantize_activation(model.graph, layer)
            _quantize_layer(model.graph, layer, activations[layer.activation], form)
        quantize_tables(model)
        drop_unused_weights(model.graph)
        fused = count_operators(model, "MatMulInteger")
        return PassReport(self.name, modified=True, fused=fused, expected=len(layers))

    def ensures(self, model: ir.Model, context: PassContext) -> None:
        if not count_operators(model, "MatMulInteger"):
            raise PassError(f"{self.name}: no linear layer was quantized")
        left = {layer.node.name for layer in find_linear_layers(model)} - set(find_excluded(model, context))
        if left:
            raise PassError(f"{self.name}: {len(left)} linear layers are still fp32")


def _quantize_activation(graph: ir.Graph, layer: LinearLayer) -> tuple[ir.Value, ir.Value, ir.Value]:
    """The activation of `layer` as uint8, with its scale and zero point."""
    import onnx_ir as ir

    name = layer.activation.name
    node = ir.node("DynamicQuantizeLinear", [layer.activation], num_outputs=3, name=f"{name}_quantize")
    quantized, scale, zero_point = node.outputs
    quantized.name, scale.name, zero_point.name = f"{name}_quantized", f"{name}_scale", f"{name}_zero_point"
    graph.insert_before(layer.node, node)
    return quantized, scale, zero_point


def _quantize_layer(
    graph: ir.Graph,
    layer: LinearLayer,
    activation: tuple[ir.Value, ir.Value, ir.Value],
    form: WeightForm,
) -> None:
    """MatMul -> MatMulInteger -> Cast -> Mul by both scales."""
    import onnx_ir as ir

    assert layer.weights.const_value is not None
    array = layer.weights.const_value.numpy()
    weights, scale = form.quantize(array)
    name = f"{layer.node.name}_weight"
    quantized, activation_scale, zero_point = activation
    weights_value = add_weights(graph, f"{name}_quantized", weights)
    scale_value = add_weights(graph, f"{name}_scale", scale)
    zero_value = add_weights(graph, f"{name}_zero_point", np.full_like(scale, form.zero_point, weights.dtype))
    tape = ir.tape.Tape()
    product = tape.op("MatMulInteger", [quantized, weights_value, zero_point, zero_value])
    product.shape = layer.node.outputs[0].shape
    scales = tape.op("Mul", [activation_scale, scale_value])
    result = tape.op("Mul", [tape.op("Cast", [product], attributes={"to": ir.DataType.FLOAT}), scales])
    replace_node(graph, layer.node, tape, result)
