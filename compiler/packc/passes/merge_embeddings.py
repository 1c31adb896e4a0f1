"""Token, position and segment embeddings and their LayerNormalization -> EmbedLayerNormalization.

For ONNX Runtime's CUDA provider: one kernel instead of six, and the positions are no longer computed from sizes, which
stay on the CPU and keep a CUDA graph from being captured.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from packc.passes.graph_pass import PassContext, PassError, PassReport
from packc.passes.opset import MICROSOFT, use_microsoft
from packc.passes.probe_values import is_each_position

if TYPE_CHECKING:
    import onnx_ir as ir


OUTPUTS = 2
"""The second one, lengths of masked texts, has to be there though nothing reads it."""


@dataclass(frozen=True, slots=True)
class _Embeddings:
    """What one normalization reads: tables, and the ids that rows are taken by."""

    norm: ir.Node
    words: ir.Value
    ids: ir.Value
    positions: ir.Value
    segments: ir.Value | None
    segment_ids: ir.Value | None


class MergeEmbeddings:
    """Embeddings of tokens at positions 0, 1, 2, ... are one operator."""

    name = "merge_embeddings"
    exact = True
    options: tuple[str, ...] = ()
    calibrates = False

    def requires(self, model: ir.Model, context: PassContext) -> str | None:
        known = any(_find_embeddings(model, node) for node in model.graph)
        return None if known else "no LayerNormalization reads embeddings of tokens at positions from 0 on"

    def apply(self, model: ir.Model, context: PassContext) -> PassReport:
        from onnx_ir.passes import common

        use_microsoft(model)
        found = [parts for node in model.graph if (parts := _find_embeddings(model, node)) is not None]
        for parts in found:
            _merge(model, parts)
        common.RemoveUnusedNodesPass()(model)
        return PassReport(self.name, modified=True, fused=len(found))

    def ensures(self, model: ir.Model, context: PassContext) -> None:
        for node in model.graph:
            if _find_embeddings(model, node) is not None:
                raise PassError(f"{self.name}: {node.name} still reads embeddings")


def _find_embeddings(model: ir.Model, norm: ir.Node) -> _Embeddings | None:
    if (norm.op_type, norm.domain) != ("LayerNormalization", "") or norm.attributes.get_int("axis", -1) not in (-1, 2):
        return None
    if len(norm.inputs) < 3 or norm.inputs[0] is None:
        return None
    lookups = [_read_lookup(value) for value in _list_terms(norm.inputs[0])]
    known = [lookup for lookup in lookups if lookup is not None]
    if len(known) != len(lookups) or len(known) not in (2, 3):
        return None
    places = [lookup for lookup in known if is_each_position(model, lookup[1])]
    others = [lookup for lookup in known if lookup not in places]
    if len(places) != 1 or any(not ids.is_graph_input() for _, ids in others):
        return None
    others.sort(key=lambda lookup: -_count_rows(lookup[0]))  # the vocabulary is larger than the kinds of segments
    (words, ids), *rest = others
    segments, segment_ids = rest[0] if rest else (None, None)
    return _Embeddings(norm, words, ids, places[0][0], segments, segment_ids)


def _list_terms(value: ir.Value) -> list[ir.Value]:
    """What is added up to `value`, by Adds that nothing else reads."""
    node = value.producer()
    if node is None or node.op_type not in ("Add", "Sum") or node.domain != "" or len(value.uses()) != 1:
        return [value]
    return [term for given in node.inputs if given is not None for term in _list_terms(given)]


def _read_lookup(value: ir.Value) -> tuple[ir.Value, ir.Value] | None:
    """The table [rows, width] and the indices of a Gather of rows."""
    node = value.producer()
    if node is None or (node.op_type, node.domain) != ("Gather", "") or node.attributes.get_int("axis", 0) != 0:
        return None
    table, indices = node.inputs
    if table is None or indices is None or table.const_value is None or len(table.const_value.shape) != 2:
        return None
    return table, indices


def _count_rows(table: ir.Value) -> int:
    assert table.const_value is not None
    return int(table.const_value.numpy().shape[0])


def _merge(model: ir.Model, parts: _Embeddings) -> None:
    import onnx_ir as ir

    tape = ir.tape.Tape()

    def as_int32(ids: ir.Value | None) -> ir.Value | None:
        return None if ids is None else tape.op("Cast", [ids], attributes={"to": ir.DataType.INT32})

    scale, shift = parts.norm.inputs[1:3]
    epsilon = parts.norm.attributes.get_float("epsilon", 1e-5)
    inputs = [
        as_int32(parts.ids), as_int32(parts.segment_ids), parts.words, parts.positions, parts.segments, scale, shift
    ]  # fmt: skip
    attributes = {"epsilon": epsilon}
    new, _ = tape.op_multi_out(
        "EmbedLayerNormalization", inputs, attributes=attributes, domain=MICROSOFT, num_outputs=OUTPUTS
    )
    old = parts.norm.outputs[0]
    new.shape, new.type = old.shape, old.type
    ir.convenience.replace_nodes_and_values(model.graph, parts.norm, [parts.norm], tape.nodes, [old], [new])
