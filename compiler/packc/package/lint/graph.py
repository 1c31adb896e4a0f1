"""Rules that hold a configuration against the real ONNX graph, as the onnxruntime backend does when it loads one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from packc.errors import Diagnostic, SourceError
from packc.package.datatypes import TRITON_TYPES
from packc.package.lint.repository import LintedModel, Repository
from packc.package.lint.tensors import type_name
from packc.package.onnx_header import GraphTensor, OnnxHeader, read_onnx_header
from packc.tensors import Dim


def check_graph_names(model: LintedModel, _: Repository) -> Iterator[Diagnostic]:
    """All inputs of the graph are written, and nothing that it lacks."""
    for file, header in _graphs(model):
        for side, actual in (("input", header.inputs), ("output", header.outputs)):
            written = {tensor.name for tensor in getattr(model.config, side)}
            names = {tensor.name for tensor in actual}
            for i, tensor in enumerate(getattr(model.config, side)):
                if tensor.name not in names:
                    yield model.error(
                        (side, i, "name"),
                        f'{file} has no {side} "{tensor.name}"',
                        f"it has {', '.join(sorted(names))}",
                    )
            for name in sorted(names - written):
                if side == "input":
                    yield model.error((side,), f'input "{name}" of {file} is not written')
                else:
                    yield model.warning((side,), f'output "{name}" of {file} is not written: clients cannot get it')


def check_graph_types(model: LintedModel, _: Repository) -> Iterator[Diagnostic]:
    """Element types are the graph's."""
    for file, path, written, actual in _pairs(model):
        expected = TRITON_TYPES.get(actual.dtype, actual.dtype)
        if type_name(written.data_type) != expected:
            yield model.error(
                (*path, "data_type"), f'"{actual.name}" is {expected} in {file}, not {type_name(written.data_type)}'
            )


def check_graph_batch(model: LintedModel, _: Repository) -> Iterator[Diagnostic]:
    """With batching, the first axis of every tensor is the graph's to vary."""
    if not model.is_batched:
        return
    for file, path, _written, actual in _pairs(model):
        if actual.shape is not None and (not actual.shape or isinstance(actual.shape[0], int)):
            yield model.error(
                path,
                f'"{actual.name}" has shape {_show(actual.shape)} in {file}: its first axis is no batch',
                "set max_batch_size to 0 and write all axes as dims, or export with a dynamic first axis",
            )


def check_graph_dims(model: LintedModel, _: Repository) -> Iterator[Diagnostic]:
    """Sizes that the graph fixes are written as they are."""
    for file, path, written, actual in _pairs(model):
        if actual.shape is None or (model.is_batched and (not actual.shape or isinstance(actual.shape[0], int))):
            continue
        shape = actual.shape[1:] if model.is_batched else actual.shape
        dims = list(written.reshape.shape if written.HasField("reshape") else written.dims)
        matches = len(dims) == len(shape) and all(
            isinstance(size, str) or size == dim for size, dim in zip(shape, dims, strict=True)
        )
        if not matches:
            after = " after the batch" if model.is_batched else ""
            yield model.error(
                (*path, "dims"), f'"{actual.name}" is {_show(shape)}{after} in {file}, not {_show(tuple(dims))}'
            )


def check_graph_readable(model: LintedModel, _: Repository) -> Iterator[Diagnostic]:
    """The ONNX file is whole and has its external data beside it."""
    for path in _onnx_files(model):
        try:
            header = read_onnx_header(path)
        except SourceError as error:
            yield Diagnostic(str(error), hint=error.hint)
            continue
        for name in header.external_files:
            if not (path.parent / name).is_file():
                yield Diagnostic(f"{path} keeps weights in {name!r}, which is not beside it")


def _onnx_files(model: LintedModel) -> list[Path]:
    if model.backend != "onnxruntime":
        return []
    names = sorted({model.config.default_model_filename or "model.onnx", *model.config.cc_model_filenames.values()})
    return [folder / name for folder in model.versions() for name in names if (folder / name).is_file()]


def _graphs(model: LintedModel) -> Iterator[tuple[str, OnnxHeader]]:
    """(version/file, header) of each ONNX file that can be read."""
    for path in _onnx_files(model):
        try:
            yield f"{path.parent.name}/{path.name}", read_onnx_header(path)
        except SourceError:
            continue


def _pairs(model: LintedModel) -> Iterator[tuple[str, tuple[str, int], Any, GraphTensor]]:
    """(file, path, written tensor, the graph's tensor) wherever both exist."""
    for file, header in _graphs(model):
        for side, actual in (("input", header.inputs), ("output", header.outputs)):
            by_name = {tensor.name: tensor for tensor in actual}
            for i, written in enumerate(getattr(model.config, side)):
                if written.name in by_name:
                    yield file, (side, i), written, by_name[written.name]


def _show(shape: tuple[Dim, ...]) -> str:
    return f"[{', '.join(map(str, shape))}]"
