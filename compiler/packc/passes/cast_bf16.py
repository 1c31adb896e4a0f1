"""Weights and computation in bf16; inputs and outputs stay fp32."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from packc.passes.cast_fp16 import count_weights
from packc.passes.graph_pass import PassContext, PassError, PassReport

if TYPE_CHECKING:
    import onnx_ir as ir

KEPT_FLOAT = frozenset(
    {"Range", "Resize", "TopK", "NonMaxSuppression", "RoiAlign", "CumSum", "Min", "Max", "Clip"}
    | {"ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceProd", "ReduceSumSquare"}
)
"""Operators that compute in fp32 between two casts: runtimes have no bf16 kernel, or the digits matter."""

LARGEST = 3.3895e38
"""The largest finite bf16; masks made of fp32's lowest value would become -inf."""


class CastBf16:
    """Every operator but KEPT_FLOAT computes in bf16, with bf16 weights."""

    name = "cast_bf16"
    exact = False
    options: tuple[str, ...] = ()
    calibrates = False

    def requires(self, model: ir.Model, context: PassContext) -> str | None:
        if any(True for _ in model.graph.subgraphs()):
            return "the graph has control flow"
        return None if count_weights(model, "FLOAT") else "the graph has no fp32 weights"

    def apply(self, model: ir.Model, context: PassContext) -> PassReport:
        import onnx_ir as ir
        from onnx_ir.passes import common

        common.ShapeInferencePass()(model)
        caster = _Caster(model.graph)
        for node in list(model.graph):
            wanted = ir.DataType.FLOAT if node.op_type in KEPT_FLOAT else ir.DataType.BFLOAT16
            _retype_attributes(node, wanted)
            for index, value in enumerate(node.inputs):
                if value is not None and value.dtype in caster.floats and value.dtype != wanted:
                    node.replace_input_with(index, caster.cast(value, wanted))
            for value in node.outputs:
                if value.dtype == ir.DataType.FLOAT:
                    value.dtype = wanted
        for index, value in enumerate(list(model.graph.outputs)):
            if value.dtype == ir.DataType.BFLOAT16:
                model.graph.outputs[index] = caster.cast_output(value)
        common.RemoveUnusedNodesPass()(model)
        return PassReport(self.name, modified=True, fused=count_weights(model, "BFLOAT16"))

    def ensures(self, model: ir.Model, context: PassContext) -> None:
        import onnx_ir as ir

        if not count_weights(model, "BFLOAT16"):
            raise PassError(f"{self.name}: no weight became bf16")
        for node in model.graph:
            types = {value.dtype for value in node.inputs if value is not None}
            if node.op_type in ("MatMul", "Gemm", "Conv") and ir.DataType.FLOAT in types:
                raise PassError(f"{self.name}: {node.name} still computes in fp32")


class _Caster:
    """Makes each value in another float type once."""

    def __init__(self, graph: ir.Graph) -> None:
        import onnx_ir as ir

        self.floats = (ir.DataType.FLOAT, ir.DataType.BFLOAT16)
        self._graph = graph
        self._made: dict[tuple[ir.Value, ir.DataType], ir.Value] = {}

    def cast(self, value: ir.Value, wanted: ir.DataType) -> ir.Value:
        """`value` in the type `wanted`: other weights, or a Cast behind its producer."""
        if (value, wanted) not in self._made:
            weights = value.const_value
            is_weights = weights is not None and value.is_initializer()
            self._made[value, wanted] = self._convert(value, wanted) if is_weights else self._insert(value, wanted)
        return self._made[value, wanted]

    def cast_output(self, value: ir.Value) -> ir.Value:
        """An fp32 output of the graph in the place and under the name of `value`."""
        import onnx_ir as ir

        name = value.name
        value.name = f"{name}_bf16"
        output = self._insert(value, ir.DataType.FLOAT)
        output.name = name
        return output

    def _convert(self, value: ir.Value, wanted: ir.DataType) -> ir.Value:
        import onnx_ir as ir

        assert value.const_value is not None
        array = np.clip(value.const_value.numpy().astype(np.float32), -LARGEST, LARGEST)
        name = f"{value.name}_{wanted.name.lower()}"
        tensor = ir.tensor(array.astype(wanted.numpy()), dtype=wanted, name=name)
        converted = ir.Value(name=name, const_value=tensor, shape=value.shape, type=ir.TensorType(wanted))
        self._graph.register_initializer(converted)
        return converted

    def _insert(self, value: ir.Value, wanted: ir.DataType) -> ir.Value:
        import onnx_ir as ir

        node = ir.node("Cast", [value], attributes={"to": wanted}, name=f"{value.name}_to_{wanted.name.lower()}")
        output = node.outputs[0]
        output.name, output.shape, output.dtype = f"{value.name}_{wanted.name.lower()}", value.shape, wanted
        producer = value.producer()
        if producer is None:
            self._graph.insert_before(self._graph[0], node)
        else:
            self._graph.insert_after(producer, node)
        return output


def _retype_attributes(node: ir.Node, wanted: ir.DataType) -> None:
    """Makes the results that an attribute types fp32 have the type `wanted`."""
    import onnx_ir as ir

    if node.op_type == "Cast" and node.attributes.get_int("to") == ir.DataType.FLOAT:
        node.attributes["to"] = ir.AttrInt64("to", wanted)
    if node.op_type in ("Constant", "ConstantOfShape") and "value" in node.attributes:
        tensor = node.attributes["value"].as_tensor()
        if tensor.dtype == ir.DataType.FLOAT:
            array = np.clip(tensor.numpy(), -LARGEST, LARGEST).astype(wanted.numpy())
            node.attributes["value"] = ir.AttrTensor("value", ir.tensor(array, dtype=wanted))
