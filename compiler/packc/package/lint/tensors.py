"""Rules about inputs and outputs as the configuration writes them."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from typing import Any

from packc.errors import Diagnostic
from packc.package.lint.positions import FieldPath
from packc.package.lint.repository import LintedModel, Repository
from packc.package.schema import config_schema

_NOT_IN_TENSORRT = ("TYPE_STRING", "TYPE_FP64", "TYPE_UINT16", "TYPE_UINT32", "TYPE_UINT64")


def written_tensors(model: LintedModel) -> Iterator[tuple[FieldPath, Any]]:
    """(path, tensor) of every input, then of every output."""
    for side in ("input", "output"):
        for i, tensor in enumerate(getattr(model.config, side)):
            yield (side, i), tensor


def type_name(data_type: int) -> str:
    """ "TYPE_FP32" of a DataType number."""
    return str(config_schema().DataType.Name(data_type))


def check_tensors_written(model: LintedModel, _: Repository) -> Iterator[Diagnostic]:
    """Both sides are written."""
    for side in ("input", "output"):
        if not getattr(model.config, side):
            yield model.error(
                (), f"no {side} is written", "write them all: where one is missing, backends change max_batch_size"
            )


def check_tensor_names(model: LintedModel, _: Repository) -> Iterator[Diagnostic]:
    """Every tensor has a name of its own, and PyTorch's outputs the index that it needs."""
    seen = set()
    for path, tensor in written_tensors(model):
        if not tensor.name:
            yield model.error(path, f"an {path[0]} has no name")
        elif (path[0], tensor.name) in seen:
            yield model.error((*path, "name"), f'two {path[0]}s are called "{tensor.name}"')
        elif model.backend == "pytorch" and path[0] == "output" and not re.search(r"__\d+$", tensor.name):
            yield model.error((*path, "name"), f'"{tensor.name}" names no position', f'write it as "{tensor.name}__0"')
        seen.add((path[0], tensor.name))


def check_types(model: LintedModel, _: Repository) -> Iterator[Diagnostic]:
    """Every tensor has a type that its backend and its clients can handle."""
    for path, tensor in written_tensors(model):
        name, where = type_name(tensor.data_type), (*path, "data_type")
        if name == "TYPE_INVALID":
            yield model.error(where, f'{path[0]} "{tensor.name}" has no data_type')
        elif model.backend == "tensorrt" and name in _NOT_IN_TENSORRT:
            yield model.error(where, f"TensorRT has no {name}", "cast it, or compute it in a step before")
        elif name == "TYPE_BF16":
            yield model.warning(where, "numpy has no bfloat16, so clients must pack these values themselves")


def check_dims(model: LintedModel, _: Repository) -> Iterator[Diagnostic]:
    """Sizes are positive, or -1 where they vary, and there is at least one."""
    for path, tensor in written_tensors(model):
        if not tensor.dims:
            hint = "for a tensor that has the batch alone: dims: [ 1 ] reshape: { shape: [ ] }"
            yield model.error((*path, "dims"), f'{path[0]} "{tensor.name}" has no dims', hint)
        for field, sizes in (("dims", tensor.dims), ("reshape", tensor.reshape.shape)):
            inner = (field,) if field == "dims" else (field, 0, "shape")
            for i, size in enumerate(sizes):
                if size < 1 and size != -1:
                    yield model.error(
                        (*path, *inner, i), f"{size} is not a size", "write -1 for one that varies; never the batch"
                    )


def check_reshape(model: LintedModel, _: Repository) -> Iterator[Diagnostic]:
    """A reshape keeps the number of elements."""
    for path, tensor in written_tensors(model):
        if not tensor.HasField("reshape"):
            continue
        dims, shape, where = list(tensor.dims), list(tensor.reshape.shape), (*path, "reshape")
        if not shape and not model.is_batched:
            yield model.error(where, "an empty shape needs max_batch_size above 0: scalars cannot be served")
        elif _chunks(dims) != _chunks(shape):
            yield model.error(where, f"dims {dims} and shape {shape} differ in their number of elements")


def _chunks(sizes: Sequence[int]) -> list[int]:
    """Elements before, between and after the sizes that vary."""
    chunks: list[list[int]] = [[]]
    for size in sizes:
        if size == -1:
            chunks.append([])
        else:
            chunks[-1].append(size)
    return [math.prod(chunk) for chunk in chunks]


def check_formats(model: LintedModel, _: Repository) -> Iterator[Diagnostic]:
    """Image formats have three dims; shape tensors and non-linear formats are TensorRT's alone."""
    for path, tensor in written_tensors(model):
        if path[0] == "input" and tensor.format and len(tensor.dims) != 3:
            yield model.error((*path, "format"), f"an image format needs 3 dims, not {len(tensor.dims)}")
        for field in ("is_shape_tensor", "is_non_linear_format_io"):
            if getattr(tensor, field) and model.backend != "tensorrt":
                yield model.error((*path, field), f"{field} is for TensorRT alone")
        if tensor.is_non_linear_format_io and len(tensor.dims) != 3:
            yield model.error((*path, "is_non_linear_format_io"), f"it needs 3 dims, not {len(tensor.dims)}")


def check_ragged(model: LintedModel, _: Repository) -> Iterator[Diagnostic]:
    """Inputs of mixed lengths in one batch come with the lengths, and `batch_input` refers to inputs that exist."""
    names = {tensor.name for tensor in model.config.input}
    for i, tensor in enumerate(model.config.input):
        if tensor.allow_ragged_batch and not model.config.batch_input:
            yield model.warning(
                ("input", i, "allow_ragged_batch"),
                "samples are joined without their lengths, so the model cannot tell them apart",
                "add a batch_input of kind BATCH_ACCUMULATED_ELEMENT_COUNT",
            )
    for i, batch_input in enumerate(model.config.batch_input):
        if len(batch_input.source_input) != 1:
            yield model.error(("batch_input", i), "a batch_input has one source_input")
        for source in batch_input.source_input:
            if source not in names:
                yield model.error(("batch_input", i, "source_input"), f'there is no input "{source}"')
