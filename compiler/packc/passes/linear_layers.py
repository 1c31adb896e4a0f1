"""Finds the matrix products with constant weights, and among them the second projections of feed-forward blocks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from packc.ingest.source import Geometry

if TYPE_CHECKING:
    import onnx_ir as ir


@dataclass(frozen=True, slots=True)
class LinearLayer:
    """A MatMul of an activation with constant weights [inputs, outputs]."""

    node: ir.Node
    activation: ir.Value
    weights: ir.Value
    inputs: int
    outputs: int


def find_linear_layers(model: ir.Model) -> list[LinearLayer]:
    """All of them, in the order of the graph."""
    layers = []
    for node in model.graph:
        if node.op_type != "MatMul" or node.domain != "":
            continue
        activation, weights = node.inputs
        if activation is None or weights is None or activation.const_value is not None:
            continue
        if weights.const_value is not None and len(weights.const_value.shape) == 2:
            inputs, outputs = (int(size) for size in weights.const_value.shape)
            layers.append(LinearLayer(node, activation, weights, inputs, outputs))
    return layers


def find_ffn_down(layers: list[LinearLayer], geometry: Geometry) -> list[LinearLayer]:
    """Those that lead from the feed-forward width back to the hidden width."""
    return [layer for layer in layers if (layer.inputs, layer.outputs) == (geometry.ffn, geometry.hidden)]
