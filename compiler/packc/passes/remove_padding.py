"""Text encoders that compute on the real tokens only: rows are packed after the embeddings, unpacked around attention.

    [batch, sequence, n] --Gather--> [tokens, n] --> MatMul, Add, LayerNormalization, Gelu, ... --> [tokens, n]
                          ... --Gather--> [batch, sequence, n] --> Attention --Gather--> [tokens, n] ...

The graph keeps its inputs and outputs. What stands at a padded position after unpacking is some other token's row: the
pass applies only where it can show that nobody looks at it. Padded keys and values are masked in attention, pooling
multiplies by the mask or takes the first position (a real token wherever padding comes last). Dynamic quantization
after this pass sees no padding in its ranges.

A Gather by index for either way: copying rows is all it does (ScatterND into zeros would write every row twice).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from packc.passes.graph_pass import PassContext, PassError, PassReport

if TYPE_CHECKING:
    import onnx_ir as ir

MASK = "attention_mask"
TOKENS = "tokens"
"""Name of the axis of packed rows."""
ELEMENTWISE = frozenset(
    ("Add", "Sub", "Mul", "Div", "Sum", "Pow", "Sqrt", "Neg", "Erf", "Tanh", "Sigmoid", "Relu", "Gelu", "Cast")
)
MASK_MOVES = frozenset(("Cast", "Unsqueeze", "Expand", "Reshape", "Identity"))
NORMS = frozenset(("LayerNormalization", "RMSNormalization", "SimplifiedLayerNormalization"))


@dataclass(frozen=True, slots=True)
class _Region:
    """What computes on packed rows."""

    nodes: frozenset[ir.Node]
    """Token-wise: each row of the output depends on the same row of the inputs alone."""
    attentions: frozenset[ir.Node]
    rows: frozenset[ir.Value]
    """Outputs of both, which have one row a token."""


class RemovePadding:
    """Between the embeddings and the pooling, only attention sees padded positions."""

    name = "remove_padding"
    exact = True
    options: tuple[str, ...] = ()
    calibrates = False

    def requires(self, model: ir.Model, context: PassContext) -> str | None:
        try:
            _find_region(model)
        except PassError as error:
            return str(error)
        return None

    def apply(self, model: ir.Model, context: PassContext) -> PassReport:
        region = _find_region(model)
        packer = _Packer(model)
        for node in list(model.graph):
            if node in region.nodes:
                packer.pack_inputs(node, region)
            else:
                packer.unpack_inputs(node, region)
        return PassReport(self.name, modified=True, fused=len(region.nodes))

    def ensures(self, model: ir.Model, context: PassContext) -> None:
        for node in model.graph:
            if node.op_type == "MatMul" and _is_weight(node.inputs[1]) and len(_dims(node.inputs[0]) or ()) == 3:
                raise PassError(f"{self.name}: {node.name} still computes on padded positions")


def _find_region(model: ir.Model) -> _Region:
    """Everything that can be packed. Raises PassError where padding cannot be removed, with the reason."""
    mask = next((value for value in model.graph.inputs if value.name == MASK), None)
    axes = _dims(mask)
    if mask is None or axes is None or len(axes) != 2 or any(isinstance(axis, int) for axis in axes):
        raise PassError(f"the graph has no input {MASK} of two dynamic axes")
    if any((_dims(value) or ())[:2] == axes for value in model.graph.outputs):
        raise PassError("an output has an answer for each token, padding included")
    from_mask, masks = _find_derived(model, mask), _find_masks(model, mask)
    nodes: set[ir.Node] = set()
    attentions: set[ir.Node] = set()
    rows: set[ir.Value] = set()
    for node in model.graph:
        is_start = not rows and node.op_type in NORMS and _has_rows(node.inputs[0], axes)
        if not is_start and not any(value in rows for value in node.inputs):
            continue
        if node.op_type == "Attention":
            _check_attention(node, from_mask)
            attentions.add(node)
            rows.add(node.outputs[0])
        elif _is_token_wise(node, rows, axes, from_mask):
            nodes.add(node)
            rows.update(node.outputs[:1])
        elif not _ignores_padding(node, masks):
            raise PassError(f"{node.name} ({node.op_type}) may look at padded positions")
    if not attentions or not any(node.op_type == "MatMul" for node in nodes):
        raise PassError("the graph has no fused Attention between token-wise operators")
    return _Region(frozenset(nodes), frozenset(attentions), frozenset(rows))


def _find_derived(model: ir.Model, mask: ir.Value) -> frozenset[ir.Value]:
    """Values that are computed from the mask, sizes of inputs and constants, and from nothing else."""
    derived, reached = {mask}, {mask}
    inputs = set(model.graph.inputs) - {mask}
    for node in model.graph:
        given = [value for value in node.inputs if value is not None]
        if node.op_type != "Shape" and any(value in inputs for value in given):
            inputs.update(node.outputs)
        elif any(value in reached for value in given):
            reached.update(node.outputs)
            derived.update(node.outputs)
    return frozenset(derived - inputs)


def _find_masks(model: ir.Model, mask: ir.Value) -> frozenset[ir.Value]:
    """The mask in other types and shapes: values that are zero wherever it is."""
    masks = {mask}
    for node in model.graph:
        if node.op_type in MASK_MOVES and node.inputs[0] in masks:
            masks.update(node.outputs)
    return frozenset(masks)


def _check_attention(node: ir.Node, from_mask: frozenset[ir.Value]) -> None:
    """Padded keys have to be masked, and what is packed has to be [batch, sequence, n]."""
    if "q_num_heads" not in node.attributes or node.attributes.get_int("is_causal"):
        raise PassError(f"{node.name} (Attention) takes heads apart, or is causal")
    bias = node.inputs[3] if len(node.inputs) > 3 else None
    if bias not in from_mask or any(value is not None for value in node.inputs[4:]):
        raise PassError(f"{node.name} (Attention) is not masked by {MASK} alone")


def _is_token_wise(
    node: ir.Node, rows: set[ir.Value], axes: tuple[int | str | None, ...], from_mask: frozenset[ir.Value]
) -> bool:
    """Whether each row of the only output depends on the same row of the inputs, and on weights."""
    first, *others = (value for value in node.inputs if value is not None)
    if len(node.outputs) != 1 or not _has_rows(node.outputs[0], axes):
        return False
    if node.op_type == "MatMul":
        return first in rows and _is_weight(others[0]) and len(_dims(others[0]) or ()) == 2
    if node.op_type in NORMS:
        return node.attributes.get_int("axis", -1) in (-1, 2) and all(map(_is_weight, others))
    if node.op_type not in ELEMENTWISE:
        return False
    return all(
        value in rows or _is_row_constant(value) or (_has_rows(value, axes) and value not in from_mask)
        for value in (first, *others)
    )


def _ignores_padding(node: ir.Node, masks: frozenset[ir.Value]) -> bool:
    """Whether what stands at padded positions of its inputs is lost: multiplied by the mask, or not taken."""
    if node.op_type == "Mul":
        return any(value in masks for value in node.inputs)
    is_on_tokens = node.op_type == "Gather" and node.attributes.get_int("axis", 0) == 1
    return node.op_type == "Shape" or (is_on_tokens and _is_first(node.inputs[1]))


def _is_first(index: ir.Value | None) -> bool:
    """Whether the constant takes the first position alone. The last one is padding in all but the longest text."""
    return index is not None and index.const_value is not None and not index.const_value.numpy().any()


def _has_rows(value: ir.Value | None, axes: tuple[int | str | None, ...]) -> bool:
    dims = _dims(value)
    return dims is not None and len(dims) == 3 and dims[:2] == axes and isinstance(dims[2], int)


def _is_weight(value: ir.Value | None) -> bool:
    return value is not None and value.const_value is not None


def _is_row_constant(value: ir.Value) -> bool:
    """A constant that is the same for every token, and leaves packed rows [tokens, width] with two axes."""
    dims = _dims(value)
    return _is_weight(value) and dims is not None and len(dims) <= 2 and all(size == 1 for size in dims[:-1])


def _dims(value: ir.Value | None) -> tuple[int | str | None, ...] | None:
    """Sizes, and names of dynamic axes; None where the shape is not known."""
    if value is None or value.shape is None:
        return None
    return tuple(size if isinstance(size, int) else size.value for size in value.shape)


class _Packer:
    """Packs and unpacks each value once, by two indices that are computed once from the mask."""

    def __init__(self, model: ir.Model) -> None:
        import onnx_ir as ir

        self._ir, self._graph = ir, model.graph
        self._packed: dict[ir.Value, ir.Value] = {}
        self._unpacked: dict[ir.Value, ir.Value] = {}
        mask = next(value for value in model.graph.inputs if value.name == MASK)
        self._batch, self._sequence = mask.shape[0], mask.shape[1]  # type: ignore[index]
        tape = ir.tape.Tape()
        flat = tape.op("Constant", [], attributes={"value_ints": [-1]})
        zero = tape.op("Constant", [], attributes={"value_int": 0})
        one = tape.op("Constant", [], attributes={"value_int": 1})
        real = tape.op("Cast", [tape.op("Reshape", [mask, flat])], attributes={"to": ir.DataType.BOOL})
        self._positions = tape.op("Reshape", [tape.op("NonZero", [real]), flat])
        counts = tape.op("CumSum", [tape.op("Cast", [real], attributes={"to": ir.DataType.INT64}), zero])
        places = tape.op("Reshape", [tape.op("Sub", [counts, one]), tape.op("Shape", [mask])])
        self._places = places  # -1 before the first real token: the last row, which is as good as any
        self._positions.shape, self._positions.dtype = ir.Shape([TOKENS]), ir.DataType.INT64
        places.shape, places.dtype = mask.shape, ir.DataType.INT64
        self._graph.insert_before(self._graph[0], tape.nodes)

    def pack_inputs(self, node: ir.Node, region: _Region) -> None:
        """Has `node` compute on packed rows."""
        for index, value in enumerate(node.inputs):
            if value is not None and not _is_weight(value):
                is_packed = value in region.rows and value.producer() in region.nodes
                node.replace_input_with(index, value if is_packed else self._pack(node, value))
        output = node.outputs[0]
        output.shape = self._ir.Shape([TOKENS, _dims(output)[-1]])  # type: ignore[index]
        if "axis" in node.attributes:
            node.attributes["axis"] = self._ir.AttrInt64("axis", -1)

    def unpack_inputs(self, node: ir.Node, region: _Region) -> None:
        """Gives `node` the rows of packed inputs at their positions again."""
        for index, value in enumerate(node.inputs):
            if value is not None and value.producer() in region.nodes:
                node.replace_input_with(index, self._unpack(node, value))

    def _pack(self, node: ir.Node, value: ir.Value) -> ir.Value:
        if value not in self._packed:
            width = _dims(value)[-1]  # type: ignore[index]
            tape = self._ir.tape.Tape()
            shape = tape.op("Constant", [], attributes={"value_ints": [-1, width]})
            rows = tape.op("Gather", [tape.op("Reshape", [value, shape]), self._positions], attributes={"axis": 0})
            rows.shape, rows.type = self._ir.Shape([TOKENS, width]), value.type
            self._graph.insert_before(node, tape.nodes)
            self._packed[value] = rows
        return self._packed[value]

    def _unpack(self, node: ir.Node, value: ir.Value) -> ir.Value:
        if value not in self._unpacked:
            width = _dims(value)[-1]  # type: ignore[index]
            tape = self._ir.tape.Tape()
            rows = tape.op("Gather", [value, self._places], attributes={"axis": 0})
            rows.shape, rows.type = self._ir.Shape([self._batch, self._sequence, width]), value.type
            self._graph.insert_before(node, tape.nodes)
            self._unpacked[value] = rows
        return self._unpacked[value]
