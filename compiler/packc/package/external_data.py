"""Gives the files with weights beside an ONNX graph other names: the graph says in each tensor which file it is in."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onnx import GraphProto, NodeProto, TensorProto

LOCATION = "location"
"""The key of TensorProto.external_data that names the file, relative to the graph's folder (onnx.proto3)."""


def rename_external_files(model: Path, place: Path, names: Mapping[str, str]) -> None:
    """Writes the graph of `model` to `place`, its tensors in the files that `names` maps to; no weight is read.

    The caller copies the files themselves.
    """
    import onnx

    graph = onnx.load(model, load_external_data=False)
    nodes = (node for function in graph.functions for node in function.node)
    for tensor in (*_list_tensors(graph.graph), *_list_constants(nodes)):
        for entry in tensor.external_data:
            if entry.key == LOCATION:
                entry.value = names.get(entry.value, entry.value)
    place.write_bytes(graph.SerializeToString())


def _list_tensors(graph: GraphProto) -> Iterator[TensorProto]:
    """All of a graph, those of the graphs in its nodes too."""
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    yield from _list_constants(graph.node)


def _list_constants(nodes: Iterable[NodeProto]) -> Iterator[TensorProto]:
    for attribute in (attribute for node in nodes for attribute in node.attribute):
        yield from (attribute.t, *attribute.tensors)
        for graph in (attribute.g, *attribute.graphs):
            yield from _list_tensors(graph)
