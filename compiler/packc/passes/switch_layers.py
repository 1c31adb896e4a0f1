"""One graph in which a flag for each linear layer chooses whether it computes in int8 or as it was."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from packc.candidate import OptionValue
from packc.passes.graph_pass import PassContext
from packc.passes.linear_layers import LinearLayer
from packc.passes.quantize_dynamic import QuantizeDynamic

if TYPE_CHECKING:
    import onnx_ir as ir


def switch_layers(model: ir.Model, layers: Sequence[LinearLayer], options: Mapping[str, OptionValue]) -> list[str]:
    """Puts every layer behind a boolean input of the graph, whose names come back in the order of `layers`.

    The int8 branch of a layer is what `quantize_dynamic` with `options` makes of it, kernels and their saturation
    included: a run of the graph shows what the recipe loses on this machine.
    """
    import onnx_ir as ir

    flags = []
    for index, layer in enumerate(layers):
        flag = ir.Value(name=f"int8_{index}", shape=ir.Shape([]), type=ir.TensorType(ir.DataType.BOOL))
        model.graph.inputs.append(flag)
        flags.append(str(flag.name))
        branches = {
            "then_branch": _make_int8_branch(model, layer, f"int8_{index}", options),
            "else_branch": _make_float_branch(layer, f"float_{index}"),
        }
        old = layer.node.outputs[0]
        node = ir.node("If", [flag], attributes=branches, name=f"{layer.node.name}_switch")
        node.outputs[0].name = f"{layer.node.name}_switched"
        node.outputs[0].shape, node.outputs[0].type = old.shape, old.type
        ir.convenience.replace_nodes_and_values(model.graph, layer.node, [layer.node], [node], [old], node.outputs)
    return flags


def _make_int8_branch(model: ir.Model, layer: LinearLayer, prefix: str, options: Mapping[str, OptionValue]) -> ir.Graph:
    """The pass's own nodes for this layer, as a subgraph; its weights join those of `model`."""
    import onnx_ir as ir

    entry = ir.Value(name=f"{prefix}_in", shape=layer.activation.shape, type=layer.activation.type)
    weights = ir.Value(name=f"{prefix}_weights", const_value=layer.weights.const_value)
    weights.shape, weights.type = layer.weights.shape, layer.weights.type
    product = ir.node("MatMul", [entry, weights], name=prefix)
    product.outputs[0].name, product.outputs[0].type = f"{prefix}_out", layer.node.outputs[0].type
    graph = ir.Graph(
        [entry],
        product.outputs,
        nodes=[product],
        initializers=[weights],
        opset_imports=model.opset_imports,
        name=prefix,
    )
    alone = ir.Model(graph, ir_version=model.ir_version)
    QuantizeDynamic().apply(alone, PassContext(None, options, Path(), Path()))
    ir.convenience.replace_all_uses_with(entry, layer.activation)
    for value in list(graph.initializers.values()):
        graph.initializers.pop(str(value.name))
        model.graph.register_initializer(value)
    graph.inputs.clear()
    for number, node in enumerate(graph):
        for place, value in enumerate(node.outputs):
            value.name = f"{prefix}_{number}_{place}"
    return graph


def _make_float_branch(layer: LinearLayer, prefix: str) -> ir.Graph:
    import onnx_ir as ir

    node = ir.node("MatMul", [layer.activation, layer.weights], name=prefix)
    node.outputs[0].name, node.outputs[0].type = f"{prefix}_out", layer.node.outputs[0].type
    return ir.Graph([], node.outputs, nodes=[node], name=prefix)
