"""Opset 18 -> 17, for parsers that read no newer one: the operators that changed get the form that they had before.

What changed is in ONNX's operator changelog: axes of reductions and pads became inputs, Split counts its outputs, and
Resize and the Scatter operators can do more. A Shape that gives only some sizes (`start`, `end`) is taken apart though
17 has it: TensorRT's parser reads neither attribute up to 8.6 (onnx-tensorrt, builtin_op_importers.cpp) and gives all
sizes without a word.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from packc.passes.graph_pass import PassContext, PassError, PassReport
from packc.samples import Array

if TYPE_CHECKING:
    import onnx_ir as ir

FROM, TO = 18, 17

REDUCTIONS = (
    "ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd",
    "ReduceSumSquare",
)  # fmt: skip
"""Their axes are an input since 18; those of ReduceSum are one since 13."""

NEW = frozenset(
    {"BitwiseAnd", "BitwiseNot", "BitwiseOr", "BitwiseXor", "CenterCropPad", "Col2Im", "GroupNormalization", "Mish"}
)
"""Operators that 17 has not."""


class LowerOpset:
    """The graph is of opset 17, or the older one that it had, and computes the same. Option: `opset`, which has to be
    17."""

    name = "lower_opset"
    exact = True
    options: tuple[str, ...] = ("opset",)
    calibrates = False

    def requires(self, model: ir.Model, context: PassContext) -> str | None:
        """Nothing. What 17 cannot say is an error of `apply`: skipped with a warning, as exact passes are, it would
        leave a graph that older parsers misread without a word."""
        return None

    def apply(self, model: ir.Model, context: PassContext) -> PassReport:
        if (opset := context.options.get("opset")) != TO:
            raise PassError(f"{self.name}: opset={opset}: there is only opset={TO}")
        if reason := refuse_graph(model):
            raise PassError(f"{self.name} cannot apply: {reason}")
        rewrites = _REWRITES if (opset := model.opset_imports.get("", 0)) > TO else {}
        nodes = [node for node in model.graph.all_nodes() if node.domain == "" and node.op_type in rewrites]
        for node in nodes:
            rewrites[node.op_type](node)
        model.opset_imports[""] = min(opset, TO)
        standard = [node for node in model.graph.all_nodes() if node.domain == ""]
        partial = [node for node in standard if _is_partial_shape(node)]
        for node in partial:
            _take_apart(node)
        changed = len(nodes) + len(partial)
        return PassReport(self.name, modified=opset > TO or changed > 0, fused=changed)

    def ensures(self, model: ir.Model, context: PassContext) -> None:
        import onnx

        opset = model.opset_imports.get("", TO)
        if opset > TO:
            raise PassError(f"{self.name}: the graph is still of opset {opset}")
        for node in model.graph.all_nodes():
            if node.domain != "":
                continue
            schema = onnx.defs.get_schema(node.op_type, opset, "")
            is_fitting = schema.min_input <= len(node.inputs) <= schema.max_input
            if unknown := set(node.attributes) - set(schema.attributes):
                told = f"{unknown.pop()}, which {node.op_type} has not in {opset}"
                raise PassError(f"{self.name}: {node.name} has {told}")
            if not is_fitting:
                raise PassError(f"{self.name}: {node.name} has {len(node.inputs)} inputs, too many for {node.op_type}")


def refuse_graph(model: ir.Model) -> str | None:
    """Why the graph has no form in opset 17; None where it has, or is older."""
    opset = model.opset_imports.get("", 0)
    if opset > FROM:
        return f"the graph has opset {opset}, and only {FROM} can be lowered"
    if opset < FROM:
        return None
    return next((reason for node in model.graph.all_nodes() if (reason := _refuse_node(node))), None)


def _refuse_node(node: ir.Node) -> str | None:
    """Why this node has no form in opset 17; None where it has."""
    if node.domain != "":
        return None
    if node.op_type in NEW:
        return f"opset {TO} has no {node.op_type}"
    what = f"{node.name} ({node.op_type})"
    if node.op_type in REDUCTIONS:
        axes = read_constant(node, 1)
        if _has(node, 1) and axes is None:
            return f"the axes of {what} are computed"
        is_nothing = node.attributes.get_int("noop_with_empty_axes", 0) != 0 and (axes is None or len(axes) == 0)
        return f"{what} reduces nothing" if is_nothing else None
    if node.op_type == "Split" and _has(node, 1) is False and find_parts(node) is None:
        return f"{what} splits a size that is not known"
    if node.op_type == "Pad" and _has(node, 3) and widen_pads(node) is None:
        return f"the pads of {what} are computed"
    if node.op_type == "Resize":
        policy = node.attributes.get_string("keep_aspect_ratio_policy", "stretch")
        if "axes" in node.attributes or node.attributes.get_int("antialias", 0) != 0 or policy != "stretch":
            return f"opset {TO} has no axes, antialias or aspect policy, as {what} has"
    if node.op_type.startswith("Scatter") and node.attributes.get_string("reduction", "none") in ("max", "min"):
        return f"opset {TO} has no maximum or minimum in {node.op_type}"
    return None


def _lower_reduction(node: ir.Node) -> None:
    import onnx_ir as ir

    axes = read_constant(node, 1)
    node.attributes.pop("noop_with_empty_axes", None)
    if axes is not None and len(axes):  # none are all, as without the attribute
        node.attributes["axes"] = ir.AttrInt64s("axes", [int(axis) for axis in axes])
    node.resize_inputs(1)


def _lower_split(node: ir.Node) -> None:
    """Equal parts need no sizes; the last of unequal ones is the smaller."""
    parts = find_parts(node) if not _has(node, 1) else None
    node.attributes.pop("num_outputs", None)
    if parts is not None and len(set(parts)) > 1:
        node.resize_inputs(2)
        node.replace_input_with(1, _make_constant(node, np.array(parts, np.int64), "split"))


def _lower_pad(node: ir.Node) -> None:
    if not _has(node, 3):
        return
    pads = widen_pads(node)
    assert pads is not None, "refuse_graph has refused it"
    node.replace_input_with(1, _make_constant(node, pads, "pads"))
    node.resize_inputs(3)


def _lower_resize(node: ir.Node) -> None:
    for name in ("antialias", "keep_aspect_ratio_policy"):
        node.attributes.pop(name, None)


_REWRITES: Mapping[str, Callable[[ir.Node], None]] = {
    **dict.fromkeys(REDUCTIONS, _lower_reduction),
    "Split": _lower_split,
    "Pad": _lower_pad,
    "Resize": _lower_resize,
}


def read_constant(node: ir.Node, index: int) -> Array | None:
    """The value of an input that is constant; None where it is computed or left out."""
    import onnx_ir as ir

    if not _has(node, index) or (value := node.inputs[index]) is None:
        return None
    tensor = ir.convenience.get_const_tensor(value)
    return None if tensor is None else tensor.numpy()


def find_parts(node: ir.Node) -> tuple[int, ...] | None:
    """Sizes of the outputs of a Split that counts them; None where the size of its axis is not known and it may not
    divide evenly."""
    value = node.inputs[0]
    axis, count = node.attributes.get_int("axis", 0), len(node.outputs)
    size = value.shape[axis] if value is not None and value.shape is not None else None
    if not isinstance(size, int):
        return None
    step = -(-size // count)
    return (*[step] * (count - 1), size - step * (count - 1))


def widen_pads(node: ir.Node) -> Array | None:
    """The pads of all axes, of a Pad that names some; None where axes, pads or the rank are not known."""
    value, pads, axes = node.inputs[0], read_constant(node, 1), read_constant(node, 3)
    if value is None or value.shape is None or pads is None or axes is None:
        return None
    rank, count = len(value.shape), len(axes)
    wide = np.zeros(2 * rank, np.int64)
    for place, axis in enumerate(int(axis) % rank for axis in axes):
        wide[axis], wide[rank + axis] = pads[place], pads[count + place]
    return wide


def _is_partial_shape(node: ir.Node) -> bool:
    return node.op_type == "Shape" and bool({"start", "end"} & set(node.attributes))


def _take_apart(node: ir.Node) -> None:
    """Shape of some axes -> all sizes, and a Slice of them."""
    import onnx_ir as ir

    start = node.attributes.pop("start", None)
    end = node.attributes.pop("end", None)
    bounds = (start.as_int() if start else 0, end.as_int() if end else np.iinfo(np.int64).max)
    if bounds[0] == 0 and end is None:
        return  # all sizes were asked for in so many words
    whole = node.outputs[0]
    assert node.graph is not None, "nodes stand in graphs"
    inputs = [_make_constant(node, np.array([n], np.int64), what) for n, what in zip((*bounds, 0), _SLICE, strict=True)]
    slicing = ir.node("Slice", [whole, *inputs], name=f"{whole.name}_slice")
    part = slicing.outputs[0]
    part.type, part.shape, whole.shape = whole.type, whole.shape, None
    node.graph.insert_after(node, slicing)
    ir.convenience.replace_all_uses_with(whole, part, replace_graph_outputs=True)
    slicing.replace_input_with(0, whole)
    name = whole.name
    whole.name = f"{name}_whole"
    part.name = name


_SLICE = ("start", "end", "axis")


def _has(node: ir.Node, index: int) -> bool:
    return len(node.inputs) > index and node.inputs[index] is not None


def _make_constant(node: ir.Node, array: Array, what: str) -> ir.Value:
    """A new initializer of the node's graph, named after the node's first output: nodes need not have names."""
    import onnx_ir as ir

    graph = node.graph
    assert isinstance(graph, ir.Graph), "passes change graphs, not functions"
    name = f"{node.outputs[0].name}_{what}_{TO}"
    tensor = ir.tensor(array, name=name)
    shape, dtype = ir.Shape(array.shape), ir.TensorType(tensor.dtype)
    value = ir.Value(name=name, const_value=tensor, shape=shape, type=dtype)
    graph.register_initializer(value)
    return value
