"""Looks at an .onnx file: its header, external data and operators, without reading a weight of the external data."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from packc.errors import MissingError, SourceError
from packc.ingest.config import Config, read_config, read_labels
from packc.ingest.fingerprint import fingerprint_files
from packc.ingest.preprocessing import read_image_preprocessing, read_text_preprocessing
from packc.ingest.source import ImagePreprocessing, Preprocessing, SourceInfo, TextPreprocessing
from packc.ingest.tasks import find_head
from packc.spec.model import ModelSection, Task
from packc.tensors import Dim, TensorSpec

TOKEN_INPUTS = ("input_ids", "attention_mask", "token_type_ids")
IMAGE_INPUT = "pixel_values"
PREPROCESSING_FILES = (
    "config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "preprocessor_config.json",
)
"""What beside the graph decides its inputs, its task and its labels."""

STANDARD_DOMAINS = ("", "ai.onnx", "ai.onnx.ml")


def inspect_onnx(path: Path, model: ModelSection) -> SourceInfo:
    """What the .onnx file at `path` holds; a tokenizer or image processor beside it (or one folder up) is used.

    Raises SourceError when the file is not ONNX, its external data are broken, or it uses operators that neither ONNX
    nor ONNX Runtime defines.
    """
    if model.pooling is not None:
        raise SourceError(
            f"[model] pooling cannot be added to an exported graph ({path})",
            hint="give the checkpoint instead, or export the graph with its pooling",
        )
    proto = load_header(path)
    external = _check_external_data(path, proto)
    _check_operators(path, proto)
    tensors = list(weight_tensors(proto))
    inputs, _ = read_signature(proto)
    place, config, preprocessing = _find_preprocessing(path.parent, tuple(spec.name for spec in inputs))
    beside = [place / name for name in PREPROCESSING_FILES if preprocessing and (place / name).is_file()]
    task = model.task or _task_of(config, preprocessing)
    return SourceInfo(
        origin="onnx",
        location=str(path),
        revision=None,
        fingerprint=fingerprint_files([path, *external, *beside], place),
        task=task,
        architecture=None,
        geometry=None,
        preprocessing=preprocessing,
        pooling="none",
        normalize=False,
        labels=read_labels(config) if task.endswith("classification") else (),
        parameters=sum(math.prod(tensor.dims) for tensor in tensors),
        weights_mib=(path.stat().st_size + sum(file.stat().st_size for file in external)) / 2**20,
        trust_remote_code=False,
        opset=next((entry.version for entry in proto.opset_import if entry.domain in ("", "ai.onnx")), None),
    )


def load_header(path: Path) -> Any:
    """The ModelProto in `path` with its external data left on disk."""
    try:
        import onnx
        from google.protobuf.message import DecodeError
    except ImportError as error:
        raise MissingError(f"reading {path} needs onnx", hint="pip install 'packc[cpu]'") from error
    try:
        proto = onnx.load(path, load_external_data=False)
    except (DecodeError, OSError) as error:
        raise SourceError(
            f"{path} is not an ONNX file, or it is truncated: {error}", hint="fetch or export it again"
        ) from error
    if not proto.graph.node or not proto.opset_import:
        raise SourceError(f"{path} is not an ONNX file: it has no graph", hint="fetch or export it again")
    return proto


def read_signature(proto: Any) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
    """Inputs and outputs of the graph, initializers left out; unnamed dynamic axes are called `<tensor>_<axis>`."""
    initializers = {tensor.name for tensor in proto.graph.initializer}
    inputs = tuple(_tensor_spec(value) for value in proto.graph.input if value.name not in initializers)
    return inputs, tuple(_tensor_spec(value) for value in proto.graph.output)


def _tensor_spec(value: Any) -> TensorSpec:
    import onnx

    kind = value.type.tensor_type
    if not value.type.HasField("tensor_type"):
        raise SourceError(f"{value.name!r} of the graph is a {value.type.WhichOneof('value')}, not a tensor")
    dtype = onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type)
    shape: tuple[Dim, ...] = tuple(
        dim.dim_value if dim.HasField("dim_value") else dim.dim_param or f"{value.name}_{axis}"
        for axis, dim in enumerate(kind.shape.dim)
    )
    return TensorSpec(name=value.name, dtype=str(dtype), shape=shape)


def _check_external_data(path: Path, proto: Any) -> list[Path]:
    """Files of the external data, each complete. Raises SourceError naming the first that is not."""
    needed: dict[Path, int] = {}
    for tensor in weight_tensors(proto):
        if not tensor.external_data:
            continue
        fields = {entry.key: entry.value for entry in tensor.external_data}
        location = fields.get("location", "")
        if not location or Path(location).is_absolute() or ".." in Path(location).parts:
            raise SourceError(
                f"{path}: the data of {tensor.name!r} lie outside its folder: {location!r}",
                hint="save the model again, its data beside it",
            )
        end = int(fields.get("offset", 0)) + int(fields.get("length", 0))
        needed[path.parent / location] = max(end, needed.get(path.parent / location, 0))
    for file, size in needed.items():
        if not file.is_file():
            raise SourceError(
                f"{path} keeps its weights in {file.name}, which is missing",
                hint=f"put {file.name} beside it: both files together are the model",
            )
        missing = size - file.stat().st_size
        if missing > 0:
            raise SourceError(
                f"{file} is truncated: {missing:,} of the {size:,} bytes that {path.name} needs are missing",
                hint="copy or export it again",
            )
    return list(needed)


def _check_operators(path: Path, proto: Any) -> None:
    import onnx

    versions = {entry.domain: entry.version for entry in proto.opset_import}
    own = {(function.domain, function.name) for function in proto.functions}
    for node in _nodes(proto):
        if (node.domain, node.op_type) in own:
            continue
        if node.domain in STANDARD_DOMAINS:
            domain = "" if node.domain == "ai.onnx" else node.domain
            version = versions.get(node.domain, versions.get(domain))
            known = version is not None and onnx.defs.has(node.op_type, version, domain)
            where = f"opset {version}" if not domain else f"{domain} version {version}"
        else:
            known = (node.domain, node.op_type) in _runtime_operators()
            where = f"domain {node.domain!r}"
        if not known:
            raise SourceError(
                f"{path}: the operator {node.op_type!r} of node {node.name or node.output[0]!r} exists neither in ONNX "
                f"nor in ONNX Runtime ({where})",
                hint="export the model again without custom operators, or to an opset that has it",
            )


def _runtime_operators() -> frozenset[tuple[str, str]]:
    """(domain, operator) pairs that ONNX Runtime adds to the standard."""
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    return frozenset((schema.domain, schema.name) for schema in state.get_all_operator_schema())


def _graphs(proto: Any) -> Iterator[Any]:
    """The main graph, and the graphs in the attributes of nodes (If, Loop, Scan)."""
    pending = [proto.graph]
    while pending:
        graph = pending.pop()
        yield graph
        for node in graph.node:
            for attribute in node.attribute:
                pending += [attribute.g] if attribute.HasField("g") else []
                pending += list(attribute.graphs)


def _nodes(proto: Any) -> Iterator[Any]:
    for graph in _graphs(proto):
        yield from graph.node
    for function in proto.functions:
        yield from function.node


def weight_tensors(proto: Any) -> Iterator[Any]:
    for graph in _graphs(proto):
        yield from graph.initializer
        for node in graph.node:
            yield from (attribute.t for attribute in node.attribute if attribute.HasField("t"))


def _find_preprocessing(folder: Path, inputs: tuple[str, ...]) -> tuple[Path, Config, Preprocessing | None]:
    """Its folder and config, and the preprocessing itself, when the graph takes exactly what it makes."""
    for place in (folder, folder.parent):
        config = read_config(place / "config.json")
        if (place / "tokenizer.json").is_file() and "input_ids" in inputs and set(inputs) <= set(TOKEN_INPUTS):
            text = read_text_preprocessing(place, config)
            return place, config, replace(text, inputs=tuple(name for name in TOKEN_INPUTS if name in inputs))
        if (place / "preprocessor_config.json").is_file() and inputs == (IMAGE_INPUT,):
            return place, config, read_image_preprocessing(place, config)
    return folder, {}, None


def _task_of(config: Config, preprocessing: Preprocessing | None) -> Task:
    architecture = str((config.get("architectures") or [""])[0])
    if head := find_head(architecture):
        return head.task
    if isinstance(preprocessing, TextPreprocessing):
        return "feature-extraction"
    return "image-feature-extraction" if isinstance(preprocessing, ImagePreprocessing) else "tensors"
