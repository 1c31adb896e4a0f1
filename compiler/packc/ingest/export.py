"""Exports a PyTorch module to ONNX through torch.export, its dynamic axes named."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from packc.errors import SourceError
from packc.ingest.reference import TorchReference

OPSET = 18
"""What torch.onnx writes without a conversion step, and what every quantizer and rewriter here understands."""

EXTERNAL_DATA_BYTES = 200_000_000
"""Weights above this lie beside the graph: one protobuf message holds less than 2 GiB."""

LEAST_TOKENS = 2
"""Some models look at a token's neighbours (MobileBERT), which one token alone does not have."""


def export_module(reference: TorchReference, graph: Path) -> None:
    """Writes `reference.module` as fp32 ONNX to `graph`, its inputs, outputs and dynamic axes named as they are there.

    Raises SourceError when the module cannot be traced with its batch (and sequence) left open.
    """
    import torch

    try:
        with torch.no_grad():
            traced = trace_module(reference)
            program = torch.onnx.export(
                traced,
                (),
                input_names=list(reference.inputs),
                output_names=list(reference.outputs),
                opset_version=OPSET,
                dynamo=True,
                optimize=True,
                verbose=False,
            )
    except Exception as error:
        raise SourceError(
            f"the model cannot be exported: {type(error).__name__}: {shorten_message(str(error))}",
            hint="torch.export must trace it with an open batch; data-dependent Python control flow is the usual cause",
        ) from error
    del traced
    _name_axes(program.model, reference)
    _forget_origin(program.model)
    weight_bytes = sum(value.const_value.nbytes for value in program.model.graph.initializers.values())
    program.save(graph, external_data=weight_bytes > EXTERNAL_DATA_BYTES)


def trace_module(reference: TorchReference, *, is_lenient: bool = False) -> Any:
    """`reference.module` as a torch.export.ExportedProgram with the axes in `reference.dynamic` left open.

    Where PyTorch tells some sizes from those of the example, as it does on GPUs for what only its choice of kernels
    depends on, that is an error, unless `is_lenient`. Call it without gradients. Raises what torch.export does.
    """
    import torch

    dims = {axis: _make_dim(axis, name, largest, is_lenient) for axis, (name, largest) in reference.dynamic.items()}
    arguments = tuple(reference.example[name] for name in reference.inputs)
    shapes = tuple({axis: dim for axis, dim in dims.items() if axis < tensor.dim()} for tensor in arguments)
    return torch.export.export(reference.module, arguments, dynamic_shapes={"tensors": shapes}, strict=False)


def _make_dim(axis: int, name: str, largest: int | None, is_lenient: bool) -> Any:
    """The open axis as torch.export takes it; one without a limit, the batch aside, is as small as the trace allows."""
    import torch

    if is_lenient:
        return torch.export.Dim.DYNAMIC(min=LEAST_TOKENS if axis else None, max=largest)
    if axis > 0 and largest is None:
        return torch.export.Dim.DYNAMIC  # a waveform: convolutions need a least length, which only the trace knows
    return torch.export.Dim(name, min=LEAST_TOKENS if axis else None, max=largest)


def shorten_message(text: str) -> str:
    """The first lines of a library's message that say something, at most 400 characters."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return " ".join(lines[:4])[:400]


def _name_axes(model: Any, reference: TorchReference) -> None:
    """Gives the symbols that torch.export made up ("s33") the names of the axes, everywhere in the graph."""
    import onnx_ir

    names: dict[str, str] = {}
    for value in model.graph.inputs:
        for axis, (name, _) in reference.dynamic.items():
            if axis < len(value.shape) and not isinstance(value.shape[axis], int):
                names[value.shape[axis].value] = name
    if not names:
        return
    pattern = re.compile(r"\b(" + "|".join(map(re.escape, names)) + r")\b")

    def rename(dim: Any) -> Any:
        if isinstance(dim, int) or dim.value is None:
            return dim
        return pattern.sub(lambda found: names[found.group()], dim.value)

    values = [*model.graph.inputs, *(output for node in model.graph.all_nodes() for output in node.outputs)]
    for value in values:
        if value.shape is not None:  # a new one: values may share theirs, which is frozen then
            value.shape = onnx_ir.Shape(rename(dim) for dim in value.shape)


def _forget_origin(model: Any) -> None:
    """Drops the stack traces that torch leaves in the graph: they name files of this machine."""
    for node in model.graph.all_nodes():
        node.metadata_props.clear()
        for value in node.outputs:
            value.metadata_props.clear()
