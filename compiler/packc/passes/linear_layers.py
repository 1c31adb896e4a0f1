"""Finds the matrix products with constant weights, and among them the second projections of feed-forward blocks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from packc.ingest.source import Geometry
from packc.passes.graph_pass import PassContext, PassError

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
        if weights.const_value is not None and _is_fp32(weights) and len(weights.const_value.shape) == 2:
            inputs, outputs = weights.const_value.numpy().shape
            layers.append(LinearLayer(node, activation, weights, inputs, outputs))
    return layers


def find_ffn_down(layers: list[LinearLayer], geometry: Geometry) -> list[LinearLayer]:
    """Those that lead from the feed-forward width back to the hidden width."""
    return [layer for layer in layers if (layer.inputs, layer.outputs) == (geometry.ffn, geometry.hidden)]


def find_gemms(model: ir.Model) -> list[ir.Node]:
    """Gemm nodes that are a MatMul with constant weights and an Add."""
    return [node for node in model.graph if node.op_type == "Gemm" and node.domain == "" and _is_plain(node)]


def split_gemms(model: ir.Model) -> None:
    """The Gemm nodes of `find_gemms` -> MatMul, of the same name, and Add, in place."""
    import onnx_ir as ir

    for node in find_gemms(model):
        activation, weights, *bias = node.inputs
        assert weights is not None
        assert weights.const_value is not None
        if node.attributes.get_int("transB", 0):
            array = weights.const_value.numpy().T.copy()
            weights = ir.Value(name=f"{weights.name}_{node.name}_transposed", const_value=ir.tensor(array))
            weights.shape, weights.type = ir.Shape(array.shape), ir.TensorType(ir.DataType.FLOAT)
            model.graph.register_initializer(weights)
        tape = ir.tape.Tape()
        result = tape.op("MatMul", [activation, weights])
        if bias and bias[0] is not None:
            result = tape.op("Add", [result, bias[0]])
        for index, new in enumerate(tape.nodes):
            new.name = node.name if new.op_type == "MatMul" else f"{node.name}_add"
            new.outputs[0].name = f"{node.name}_part_{index}"
        old = node.outputs[0]
        result.shape, result.type = old.shape, old.type
        ir.convenience.replace_nodes_and_values(model.graph, node, [node], tape.nodes, [old], [result])


def _is_fp32(weights: ir.Value) -> bool:
    """Whether it is a constant in fp32; graphs that came in fp16 stay as they are."""
    import onnx_ir as ir

    return weights.const_value is not None and weights.const_value.dtype == ir.DataType.FLOAT


def _is_plain(node: ir.Node) -> bool:
    weights = node.inputs[1]
    has_constant = weights is not None and _is_fp32(weights)
    scales = [node.attributes.get_float(name, 1.0) for name in ("alpha", "beta")]
    return has_constant and scales == [1.0, 1.0] and not node.attributes.get_int("transA", 0)


def find_excluded(model: ir.Model, context: PassContext) -> list[str]:
    """Names of the nodes that the option `exclude` keeps out of quantization: "" (none), "ffn_down", or layers' names.

    A layer is a MatMul of `find_linear_layers` or a Gemm of `find_gemms`. Raises PassError for one that is not there.
    """
    match context.options.get("exclude", ""):
        case "":
            return []
        case "ffn_down" if context.geometry is None:
            raise PassError("exclude=ffn_down: the model's layer widths are not known")
        case "ffn_down":
            assert context.geometry is not None
            found = find_ffn_down(find_linear_layers(model), context.geometry)
            if not found:
                wanted = f"{context.geometry.ffn} x {context.geometry.hidden}"
                raise PassError(f"exclude=ffn_down: the graph has no {wanted} projection")
            return [str(layer.node.name) for layer in found]
        case tuple() as names:
            present = {layer.node.name for layer in find_linear_layers(model)} | {n.name for n in find_gemms(model)}
            if lacking := sorted(set(names) - present):
                raise PassError(f"exclude: the graph has no linear layer {', '.join(lacking)}")
            return list(names)
        case other:
            raise PassError(f"exclude={other}: there are ffn_down and the names of layers")
