"""Element types under their two names: numpy's (TensorSpec.dtype) and Triton's (`TYPE_*` of config.pbtxt)."""

from __future__ import annotations

from packc.errors import SourceError

TRITON_TYPES = {
    "bool": "TYPE_BOOL",
    "uint8": "TYPE_UINT8",
    "uint16": "TYPE_UINT16",
    "uint32": "TYPE_UINT32",
    "uint64": "TYPE_UINT64",
    "int8": "TYPE_INT8",
    "int16": "TYPE_INT16",
    "int32": "TYPE_INT32",
    "int64": "TYPE_INT64",
    "float16": "TYPE_FP16",
    "float32": "TYPE_FP32",
    "float64": "TYPE_FP64",
    "bfloat16": "TYPE_BF16",
    "object": "TYPE_STRING",
}
"""numpy dtype name -> Triton type. float8 and int4 are missing on purpose: they cannot cross Triton's interface."""

ELEMENT_BYTES = {
    "TYPE_BOOL": 1,
    "TYPE_UINT8": 1,
    "TYPE_UINT16": 2,
    "TYPE_UINT32": 4,
    "TYPE_UINT64": 8,
    "TYPE_INT8": 1,
    "TYPE_INT16": 2,
    "TYPE_INT32": 4,
    "TYPE_INT64": 8,
    "TYPE_FP16": 2,
    "TYPE_FP32": 4,
    "TYPE_FP64": 8,
    "TYPE_BF16": 2,
}
"""Bytes of one element; TYPE_STRING has no fixed size."""


def triton_type(tensor: str, dtype: str) -> str:
    """Triton's name of a numpy dtype. Raises SourceError for a type that clients cannot send, naming the tensor."""
    if dtype not in TRITON_TYPES:
        raise SourceError(
            f"tensor {tensor!r} has element type {dtype}, which cannot cross Triton's interface",
            hint=f"cast it inside the graph to one of {', '.join(TRITON_TYPES)}",
        )
    return TRITON_TYPES[dtype]
