"""Positions of tokens, which are added up in whole numbers, added up in fp32.

TensorRT's parser lists CumSum for no whole numbers up to 8.6 (onnx-tensorrt, operators.md). Comes after the casts to
smaller precisions, which would have the sums in 16 bits: bf16 has no 257.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from packc.passes.graph_pass import PassContext, PassError, PassReport
from packc.passes.remove_padding import MASK

if TYPE_CHECKING:
    import onnx_ir as ir

LARGEST = 2**24
"""fp32 has all whole numbers up to this one."""

KEEPING = frozenset({"Identity", "Unsqueeze", "Squeeze", "Reshape", "Expand", "Slice", "Transpose"})
"""Operators whose values are all among those of their first input."""


class SumInFp32:
    """Every CumSum of zeros and ones stands between two casts, and gives the same: they are as many as a text has
    tokens at most, which no model has 2^24 of. A sum of other numbers is refused, since fp32 may not have it."""

    name = "sum_in_fp32"
    exact = True
    options: tuple[str, ...] = ()
    calibrates = False

    def requires(self, model: ir.Model, context: PassContext) -> str | None:
        for node in _find_sums(model):
            value = node.inputs[0]
            assert value is not None, "a sum has something to add up"
            if not _is_zeros_and_ones(value):
                return f"{node.outputs[0].name} adds up {value.name}, which may be other numbers than zeros and ones"
            if any(isinstance(size, int) and size > LARGEST for size in value.shape or ()):
                return f"{node.outputs[0].name} adds up more than {LARGEST:,} numbers"
        return None

    def apply(self, model: ir.Model, context: PassContext) -> PassReport:
        sums = _find_sums(model)
        for node in sums:
            _sum_in_fp32(node)
        return PassReport(self.name, modified=bool(sums), fused=len(sums))

    def ensures(self, model: ir.Model, context: PassContext) -> None:
        if left := _find_sums(model):
            raise PassError(f"{self.name}: {left[0].outputs[0].name} is still a sum of whole numbers")


def _find_sums(model: ir.Model) -> list[ir.Node]:
    """Each CumSum of whole numbers."""
    from onnx_ir.passes import common

    sums = [node for node in model.graph.all_nodes() if (node.domain, node.op_type) == ("", "CumSum")]
    if any(node.inputs[0] is not None and node.inputs[0].dtype is None for node in sums):
        common.ShapeInferencePass()(model)
    return [node for node in sums if _is_typed(node.inputs[0], "INT32", "INT64")]


def _is_typed(value: ir.Value | None, *names: str) -> bool:
    return value is not None and value.dtype is not None and value.dtype.name in names


def _is_zeros_and_ones(value: ir.Value) -> bool:
    """Whether all that `value` can be is 0 or 1, by what makes it: booleans, a constant, or the mask of a tokenizer."""
    import onnx_ir as ir

    tensor = ir.convenience.get_const_tensor(value)
    if tensor is not None:
        return set(tensor.numpy().ravel().tolist()) <= {0, 1}
    node = value.producer()
    if node is None:
        return value.is_graph_input() and value.name == MASK
    given = node.inputs[0] if node.inputs else None
    if given is None or (node.op_type != "Cast" and node.op_type not in KEEPING):
        return False
    is_cast_of_numbers = node.op_type == "Cast" and not _is_typed(given, "BOOL", "INT32", "INT64")
    return _is_typed(given, "BOOL") or (not is_cast_of_numbers and _is_zeros_and_ones(given))


def _sum_in_fp32(node: ir.Node) -> None:
    """A Cast on either side."""
    import onnx_ir as ir

    given, result = node.inputs[0], node.outputs[0]
    assert given is not None, "a sum has something to add up"
    assert given.dtype is not None, "it is known to be of whole numbers"
    assert node.graph is not None, "nodes stand in graphs"
    name = str(result.name)
    before = ir.node("Cast", [given], attributes={"to": ir.DataType.FLOAT}, name=f"{name}_of_floats")
    after = ir.node("Cast", [result], attributes={"to": given.dtype}, name=f"{name}_as_integer")
    _follow(before.outputs[0], given, f"{name}_of_floats", ir.DataType.FLOAT)
    _follow(after.outputs[0], result, name, given.dtype)
    node.graph.insert_before(node, before)
    node.graph.insert_after(node, after)
    ir.convenience.replace_all_uses_with(result, after.outputs[0], replace_graph_outputs=True)
    after.replace_input_with(0, result)
    node.replace_input_with(0, before.outputs[0])
    result.name, result.dtype = f"{name}_as_float", ir.DataType.FLOAT


def _follow(value: ir.Value, like: ir.Value, name: str, dtype: ir.DataType) -> None:
    """Gives `value` that name and type, and the shape of `like`."""
    value.name, value.dtype, value.shape = name, dtype, like.shape
