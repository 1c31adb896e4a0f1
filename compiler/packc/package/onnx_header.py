"""Reads what an ONNX file promises (inputs, outputs, external files, opset) without loading its weights.

Walks the protobuf wire format in a memory map, so a file of gigabytes costs milliseconds and no memory, and neither
`onnx` nor a runtime has to be installed. Field numbers are those of onnx.proto3.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from packc.errors import SourceError
from packc.tensors import Dim

_DTYPES = {
    1: "float32",
    2: "uint8",
    3: "int8",
    4: "uint16",
    5: "int16",
    6: "int32",
    7: "int64",
    8: "object",
    9: "bool",
    10: "float16",
    11: "float64",
    12: "uint32",
    13: "uint64",
    16: "bfloat16",
}

UNNAMED = "?"
"""Stands for a dynamic axis that the file gives no name."""

_Slice = tuple[int, int]


@dataclass(frozen=True, slots=True)
class GraphTensor:
    """An input or output of the graph."""

    name: str
    dtype: str
    """numpy name, or "onnx type N" for one that numpy lacks."""
    shape: tuple[Dim, ...] | None
    """None when the file does not even say how many axes there are."""


@dataclass(frozen=True, slots=True)
class OnnxHeader:
    """What an ONNX file promises."""

    inputs: tuple[GraphTensor, ...]
    """Without those that are weights."""
    outputs: tuple[GraphTensor, ...]
    external_files: tuple[str, ...]
    """Files with weights, relative to the ONNX file's folder, sorted."""
    opset: int
    """Version of ONNX's own operators that the graph is written in; 0 when the file does not say."""


def read_onnx_header(path: Path) -> OnnxHeader:
    """Raises SourceError for a file that is no ONNX model or is cut short."""
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return _read_model(data)
    except (ValueError, IndexError) as error:
        raise SourceError(f"{path} is not a whole ONNX model: {error}", hint="export or download it again") from error


def _read_model(data: mmap.mmap) -> OnnxHeader:
    graphs = [value for number, value in _fields(data, (0, len(data))) if number == 7 and isinstance(value, tuple)]
    if len(graphs) != 1:
        raise ValueError("it holds no graph")
    inputs, outputs, weights, external = [], [], set(), set()
    for number, value in _fields(data, graphs[0]):
        if not isinstance(value, tuple):
            continue
        if number == 5:
            name, file = _read_weight(data, value)
            weights.add(name)
            external |= {file} if file else set()
        elif number == 11:
            inputs.append(_read_tensor(data, value))
        elif number == 12:
            outputs.append(_read_tensor(data, value))
    if not outputs:
        raise ValueError("its graph has no outputs")
    return OnnxHeader(
        inputs=tuple(tensor for tensor in inputs if tensor.name not in weights),
        outputs=tuple(outputs),
        external_files=tuple(sorted(external)),
        opset=_read_opset(data),
    )


def _read_opset(data: mmap.mmap) -> int:
    """From the OperatorSetIdProto of the default domain."""
    for number, value in _fields(data, (0, len(data))):
        if number == 8 and isinstance(value, tuple):
            domain, version = "", 0
            for kind, part in _fields(data, value):
                if kind == 1 and isinstance(part, tuple):
                    domain = _text(data, part)
                elif kind == 2 and isinstance(part, int):
                    version = part
            if domain in ("", "ai.onnx"):
                return version
    return 0


def _read_weight(data: mmap.mmap, where: _Slice) -> tuple[str, str | None]:
    """(name, external file or None) of a TensorProto."""
    name, file = "", None
    for number, value in _fields(data, where):
        if number == 8 and isinstance(value, tuple):
            name = _text(data, value)
        elif number == 13 and isinstance(value, tuple):
            entry = {n: _text(data, v) for n, v in _fields(data, value) if isinstance(v, tuple)}
            if entry.get(1) == "location":
                file = entry.get(2)
    return name, file


def _read_tensor(data: mmap.mmap, where: _Slice) -> GraphTensor:
    """A ValueInfoProto."""
    name, dtype, shape = "", "onnx type 0", None
    for number, value in _fields(data, where):
        if number == 1 and isinstance(value, tuple):
            name = _text(data, value)
        elif number == 2 and isinstance(value, tuple):
            for kind, tensor in _fields(data, value):
                if kind == 1 and isinstance(tensor, tuple):
                    dtype, shape = _read_tensor_type(data, tensor)
    return GraphTensor(name, dtype, shape)


def _read_tensor_type(data: mmap.mmap, where: _Slice) -> tuple[str, tuple[Dim, ...] | None]:
    dtype, shape = "onnx type 0", None
    for number, value in _fields(data, where):
        if number == 1 and isinstance(value, int):
            dtype = _DTYPES.get(value, f"onnx type {value}")
        elif number == 2 and isinstance(value, tuple):
            shape = tuple(_read_dim(data, dim) for n, dim in _fields(data, value) if n == 1 and isinstance(dim, tuple))
    return dtype, shape


def _read_dim(data: mmap.mmap, where: _Slice) -> Dim:
    size: Dim = UNNAMED
    for number, value in _fields(data, where):
        if number == 1 and isinstance(value, int) and value < 2**63:
            size = value
        elif number == 2 and isinstance(value, tuple):
            size = _text(data, value) or UNNAMED
    return size


def _text(data: mmap.mmap, where: _Slice) -> str:
    return data[where[0] : where[1]].decode()


def _fields(data: mmap.mmap, where: _Slice) -> Iterator[tuple[int, int | _Slice]]:
    """(field number, integer or the place of a length-delimited value) of each field of one message."""
    position, end = where
    while position < end:
        key, position = _varint(data, position)
        kind = key & 7
        value: int | _Slice
        if kind == 0:
            value, position = _varint(data, position)
        elif kind == 2:
            length, position = _varint(data, position)
            value, position = (position, position + length), position + length
        elif kind in (1, 5):
            value = (position, position + (8 if kind == 1 else 4))
            position = value[1]
        else:
            raise ValueError(f"unknown wire type {kind} at byte {position}")
        if position > end:
            raise ValueError(f"it ends at byte {end}, but byte {position} is needed")
        yield key >> 3, value


def _varint(data: mmap.mmap, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7
        if shift > 63:
            raise ValueError(f"a number at byte {position} is too long")
