"""Brings an .onnx file into the cache: copied with its external data, its batch and sequence axes named.

And tells of a graph whether it has convolutions.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from packc.ingest.onnx_file import TOKEN_INPUTS, load_header, weight_tensors

IR_OF_PLAIN_WEIGHTS = 4


def copy_onnx(path: Path, graph: Path) -> None:
    """Writes the model at `path` to `graph`, external data beside it under their own names.

    Axis 0 is called "batch" when it is dynamic in every input (under one name, or none), axis 1 of token inputs
    "sequence"; outputs follow. Weights that old exporters list among the inputs, as defaults, are weights alone.
    """
    import onnx

    proto = load_header(path)
    _drop_default_inputs(proto)
    _name_axes(proto.graph)
    onnx.save(proto, graph)
    for name in sorted(_external_files(proto)):
        target = graph.parent / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path.parent / name, target)


def has_convolutions(path: Path) -> bool:
    """Whether any node of the model at `path` is a convolution, in its functions and branches too."""
    proto = load_header(path)
    graphs = [proto.graph, *proto.functions]
    while graphs:
        for node in graphs.pop().node:
            if "Conv" in node.op_type:
                return True
            graphs += [found for attribute in node.attribute for found in (attribute.g, *attribute.graphs)]
    return False


def _drop_default_inputs(proto: Any) -> None:
    """Takes weights out of the graph's inputs; IR version 4 is the first that lets them be none."""
    weights = {tensor.name for tensor in proto.graph.initializer}
    kept = [value for value in proto.graph.input if value.name not in weights]
    if len(kept) < len(proto.graph.input):
        del proto.graph.input[:]
        proto.graph.input.extend(kept)
        proto.ir_version = max(proto.ir_version, IR_OF_PLAIN_WEIGHTS)


def _name_axes(graph: Any) -> None:
    inputs = list(graph.input)
    first = [_axis(value, 0) for value in inputs]
    renamed: dict[str, str] = {}
    if all(dim is not None and not dim.dim_value for dim in first) and len({dim.dim_param for dim in first}) == 1:
        _rename(first, "batch", renamed)
        _rename([_axis(value, 0) for value in graph.output if _is_unnamed(_axis(value, 0))], "batch", renamed)
    tokens = [_axis(value, 1) for value in inputs if value.name in TOKEN_INPUTS]
    if tokens and all(dim is not None and not dim.dim_value for dim in tokens):
        _rename(tokens, "sequence", renamed)
    for value in [*graph.output, *graph.value_info]:
        for dim in value.type.tensor_type.shape.dim:
            if dim.dim_param in renamed:
                dim.dim_param = renamed[dim.dim_param]


def _rename(dims: list[Any], name: str, renamed: dict[str, str]) -> None:
    for dim in dims:
        if dim.dim_param:
            renamed[dim.dim_param] = name
        dim.dim_param = name


def _is_unnamed(dim: Any) -> bool:
    return dim is not None and not dim.dim_value and not dim.dim_param


def _axis(value: Any, axis: int) -> Any:
    """The dimension proto of `axis`, or None when the tensor has fewer."""
    dims = value.type.tensor_type.shape.dim
    return dims[axis] if axis < len(dims) else None


def _external_files(proto: Any) -> set[str]:
    entries = (entry for tensor in weight_tensors(proto) for entry in tensor.external_data)
    return {entry.value for entry in entries if entry.key == "location"}
