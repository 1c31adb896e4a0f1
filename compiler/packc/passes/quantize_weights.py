"""Weights of linear layers in 8 or 4 bits, one scale for each block of inputs; activations stay floating point.

The operator is ONNX Runtime's MatMulNBits. With accuracy level 4 it rounds activations to int8 too, but one block at a
time, so that an outlier costs its own block alone: on all-MiniLM-L6-v2, 8 bits in blocks of 32 keep 98 % of the ten
nearest neighbours where the best recipe of one scale a tensor keeps 97 %.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from packc.passes.graph_pass import PassContext, PassError, PassReport
from packc.passes.linear_layers import find_excluded, find_gemms, find_linear_layers, split_gemms
from packc.passes.quantized_weights import add_weights, drop_unused_weights, quantize_tables, replace_node

if TYPE_CHECKING:
    import onnx_ir as ir

    from packc.passes.linear_layers import LinearLayer

MICROSOFT = "com.microsoft"
BITS = (4, 8)
BLOCK_SIZES = (16, 32, 64, 128, 256)
"""Those that MatMulNBits has kernels for."""
INT8_ACCURACY = 4
"""Accuracy level of MatMulNBits: activations in int8, block by block."""


class QuantizeWeights:
    """Every product with constant weights is a MatMulNBits, but those that `exclude` names; tables are int8 by row.

    Options: `bits` (8, the default, or 4), `block_size` (default 32) inputs that share a scale, and `exclude` as
    quantize_dynamic has it.
    """

    name = "quantize_weights"
    exact = False
    options: tuple[str, ...] = ("bits", "block_size", "exclude")
    calibrates = False

    def requires(self, model: ir.Model, context: PassContext) -> str | None:
        if find_linear_layers(model) or find_gemms(model):
            return None
        return "the graph has no MatMul or Gemm with constant weights"

    def apply(self, model: ir.Model, context: PassContext) -> PassReport:
        bits, block_size = context.options.get("bits", 8), context.options.get("block_size", 32)
        if bits not in BITS or block_size not in BLOCK_SIZES:
            raise PassError(f"{self.name}: bits are one of {BITS}, block_size one of {BLOCK_SIZES}")
        split_gemms(model)
        excluded = set(find_excluded(model, context))
        layers = [layer for layer in find_linear_layers(model) if layer.node.name not in excluded]
        for layer in layers:
            _quantize_layer(model.graph, layer, int(bits), int(block_size))
        quantize_tables(model)
        drop_unused_weights(model.graph)
        model.opset_imports.setdefault(MICROSOFT, 1)
        return PassReport(self.name, modified=True, fused=_count_products(model), expected=len(layers))

    def ensures(self, model: ir.Model, context: PassContext) -> None:
        if not _count_products(model):
            raise PassError(f"{self.name}: no linear layer was quantized")
        left = {layer.node.name for layer in find_linear_layers(model)} - set(find_excluded(model, context))
        if left:
            raise PassError(f"{self.name}: {len(left)} linear layers are still fp32")


def quantize_blocks(
    weights: npt.NDArray[np.float32], bits: int, block_size: int
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float32]]:
    """Weights [inputs, outputs] as MatMulNBits has them: [outputs, blocks, bytes] and scales [outputs, blocks].

    The inputs are filled up to whole blocks with zeros. The zero point is the middle, 2 ^ (bits - 1), and the weight of
    largest magnitude in a block becomes exactly the smallest number; of two 4-bit numbers the first has the low bits.
    """
    inputs, outputs = weights.shape
    blocks = -(-inputs // block_size)
    filled = np.zeros((outputs, blocks * block_size), np.float32)
    filled[:, :inputs] = weights.T
    filled = filled.reshape(outputs, blocks, block_size)
    largest = np.take_along_axis(filled, np.abs(filled).argmax(axis=2, keepdims=True), axis=2)
    middle = 1 << (bits - 1)
    scales = np.where(largest != 0, largest / -middle, 1.0).astype(np.float32)
    numbers = np.clip(np.rint(filled / scales) + middle, 0, 2 * middle - 1).astype(np.uint8)
    if bits == 4:
        numbers = numbers[:, :, 0::2] | numbers[:, :, 1::2] << 4
    return numbers, scales[:, :, 0]


def _quantize_layer(graph: ir.Graph, layer: LinearLayer, bits: int, block_size: int) -> None:
    import onnx_ir as ir

    assert layer.weights.const_value is not None
    numbers, scales = quantize_blocks(layer.weights.const_value.numpy(), bits, block_size)
    name = f"{layer.node.name}_weight"
    attributes = {
        "K": layer.inputs, "N": layer.outputs, "bits": bits, "block_size": block_size, "accuracy_level": INT8_ACCURACY,
    }  # fmt: skip
    tape = ir.tape.Tape()
    blocks, factors = add_weights(graph, f"{name}_quantized", numbers), add_weights(graph, f"{name}_scale", scales)
    result = tape.op("MatMulNBits", [layer.activation, blocks, factors], attributes=attributes, domain=MICROSOFT)
    replace_node(graph, layer.node, tape, result)


def _count_products(model: ir.Model) -> int:
    return sum(node.op_type == "MatMulNBits" and node.domain == MICROSOFT for node in model.graph)
