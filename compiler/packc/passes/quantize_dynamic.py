"""Linear layers and embedding tables in int8, activations quantized as they come (one range a tensor and call).

The graph is what onnxruntime.quantization.quantize_dynamic makes, which ONNX Runtime turns into MatMulIntegerToFloat
when it loads it. Written here because the library takes one channel at a time in Python, the whole model in memory
three times: 3.7 s for all-MiniLM-L6-v2, where this takes 0.3.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from packc.passes.graph_pass import PassContext, PassError, PassReport, count_operators
from packc.passes.linear_layers import find_excluded, find_gemms, find_linear_layers, split_gemms

if TYPE_CHECKING:
    import onnx_ir as ir

    from packc.passes.linear_layers import LinearLayer

LARGEST = 127
"""Weights are symmetric: [-127, 127], zero point 0."""

LARGEST_REDUCED = 63
"""In 7 bits the sum of two products with uint8 fits 16 bits, where x86 CPUs without VNNI keep it: 2 x 255 x 63 = 32130
of 32767. Larger sums saturate there without a word."""


class QuantizeDynamic:
    """Every product with constant weights computes in int8, but those that `exclude` names; tables are int8 by row.

    Options: `per_channel` (default true) gives each output channel its own scale; `exclude="ffn_down"` keeps the
    second projections of feed-forward blocks in fp32; `reduce_range` (default false) keeps weights of products in 7
    bits. Weights are signed: unsigned ones run 1.3 to 1.45 times slower.
    """

    name = "quantize_dynamic"
    exact = False
    options: tuple[str, ...] = ("per_channel", "exclude", "reduce_range")
    calibrates = False

    def requires(self, model: ir.Model, context: PassContext) -> str | None:
        if find_linear_layers(model) or find_gemms(model):
            return None
        return "the graph has no MatMul or Gemm with constant weights"

    def apply(self, model: ir.Model, context: PassContext) -> PassReport:
        split_gemms(model)
        per_channel = bool(context.options.get("per_channel", True))
        largest = LARGEST_REDUCED if context.options.get("reduce_range", False) else LARGEST
        excluded = set(find_excluded(model, context))
        layers = [layer for layer in find_linear_layers(model) if layer.node.name not in excluded]
        activations: dict[ir.Value, tuple[ir.Value, ir.Value, ir.Value]] = {}
        for layer in layers:
            if layer.activation not in activations:
                activations[layer.activation] = _quantize_activation(model.graph, layer)
            _quantize_layer(model.graph, layer, activations[layer.activation], per_channel, largest)
        for node in find_lookups(model):
            _quantize_table(model.graph, node)
        _drop_unused_weights(model.graph)
        fused = count_operators(model, "MatMulInteger")
        return PassReport(self.name, modified=True, fused=fused, expected=len(layers))

    def ensures(self, model: ir.Model, context: PassContext) -> None:
        if not count_operators(model, "MatMulInteger"):
            raise PassError(f"{self.name}: no linear layer was quantized")
        left = {layer.node.name for layer in find_linear_layers(model)} - set(find_excluded(model, context))
        if left:
            raise PassError(f"{self.name}: {len(left)} linear layers are still fp32")


def quantize_weights(
    weights: npt.NDArray[np.float32], axis: int | None, largest: int = LARGEST
) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.float32]]:
    """Weights in [-largest, largest] and their scale, taken over `axis` (kept, of size 1) or over all (a scalar)."""
    magnitude = np.abs(weights).max(axis=axis, keepdims=axis is not None)
    scale = np.where(magnitude > 0, magnitude / largest, 1.0).astype(np.float32)
    return np.clip(np.rint(weights / scale), -largest, largest).astype(np.int8), scale


def find_lookups(model: ir.Model) -> list[ir.Node]:
    """Gather nodes that take rows of constant fp32 tables."""
    import onnx_ir as ir

    return [
        node
        for node in model.graph
        if node.op_type == "Gather"
        and node.domain == ""
        and node.attributes.get_int("axis", 0) == 0
        and (table := node.inputs[0]) is not None
        and table.const_value is not None
        and table.const_value.dtype == ir.DataType.FLOAT
        and len(table.const_value.shape) == 2
    ]


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
    per_channel: bool,
    largest: int,
) -> None:
    """MatMul -> MatMulInteger -> Cast -> Mul by both scales."""
    import onnx_ir as ir

    assert layer.weights.const_value is not None
    array = layer.weights.const_value.numpy()
    weights, scale = quantize_weights(array, 0 if per_channel else None, largest)
    name = f"{layer.node.name}_weight"
    quantized, activation_scale, zero_point = activation
    weights_value = _add_weights(graph, f"{name}_quantized", weights)
    scale = scale.reshape(-1) if per_channel else scale
    scale_value = _add_weights(graph, f"{name}_scale", scale)
    zero_value = _add_weights(graph, f"{name}_zero_point", np.zeros_like(scale, np.int8))
    tape = ir.tape.Tape()
    product = tape.op("MatMulInteger", [quantized, weights_value, zero_point, zero_value])
    product.shape = layer.node.outputs[0].shape
    scales = tape.op("Mul", [activation_scale, scale_value])
    result = tape.op("Mul", [tape.op("Cast", [product], attributes={"to": ir.DataType.FLOAT}), scales])
    _replace_node(graph, layer.node, tape, result)


def _quantize_table(graph: ir.Graph, node: ir.Node) -> None:
    """Gather of fp32 rows -> Gather of int8 rows and of their scales, multiplied."""
    import onnx_ir as ir

    table, indices = node.inputs
    assert table is not None
    assert table.const_value is not None
    rows, scales = quantize_weights(table.const_value.numpy(), axis=1)
    tape = ir.tape.Tape()
    row = tape.op("Gather", [_add_weights(graph, f"{node.name}_rows", rows), indices])
    scale = tape.op("Gather", [_add_weights(graph, f"{node.name}_scales", scales), indices])
    result = tape.op("Mul", [tape.op("Cast", [row], attributes={"to": ir.DataType.FLOAT}), scale])
    _replace_node(graph, node, tape, result)


def _replace_node(graph: ir.Graph, node: ir.Node, tape: ir.tape.Tape, result: ir.Value) -> None:
    import onnx_ir as ir

    old = node.outputs[0]
    result.shape, result.type = old.shape, old.type
    for index, new in enumerate(tape.nodes):
        new.name = f"{node.name}_{new.op_type.lower()}_{index}"
        for value in new.outputs:
            value.name = value.name or new.name
    ir.convenience.replace_nodes_and_values(graph, node, [node], tape.nodes, [old], [result])


def _add_weights(graph: ir.Graph, name: str, array: npt.NDArray[np.generic]) -> ir.Value:
    import onnx_ir as ir

    tensor = ir.tensor(array, name=name)
    value = ir.Value(name=name, const_value=tensor, shape=ir.Shape(array.shape), type=ir.TensorType(tensor.dtype))
    graph.register_initializer(value)
    return value


def _drop_unused_weights(graph: ir.Graph) -> None:
    for name, value in list(graph.initializers.items()):
        if not value.uses() and not value.is_graph_output():
            del graph.initializers[name]
