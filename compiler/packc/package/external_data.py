"""Gives the files with weights beside an ONNX graph other names: the graph says in each tensor which file it is in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from google.protobuf.message import Message
    from onnx import TensorProto

LOCATION = "location"
"""The key of TensorProto.external_data that names the file, relative to the graph's folder (onnx.proto3)."""


def rename_external_files(model: Path, place: Path, names: Mapping[str, str]) -> None:
    """Writes the graph of `model` to `place`, its tensors in the files that `names` maps to; no weight is read.

    The caller copies the files themselves.
    """
    import onnx

    graph = onnx.load(model, load_external_data=False)
    for tensor in _list_tensors(graph):
        for entry in tensor.external_data:
            if entry.key == LOCATION:
                entry.value = names.get(entry.value, entry.value)
    place.write_bytes(graph.SerializeToString())


def _list_tensors(message: Message) -> Iterator[TensorProto]:
    """All below a message of ONNX, whatever holds them: the graph, sparse tensors, attributes, branches, functions."""
    from google.protobuf.message import Message
    from onnx import TensorProto

    if isinstance(message, TensorProto):
        yield message
        return
    for field, value in message.ListFields():
        if field.message_type is not None:
            for part in (value,) if isinstance(value, Message) else value:
                yield from _list_tensors(part)
