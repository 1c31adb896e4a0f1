"""A source model in its own framework, behind one face: tensors in, tensors out. Used in the worker process only."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from packc.samples import Array, Sample
from packc.tensors import Dim, TensorSpec

TRACE_BATCH = 2
"""Batch of the tensors that a module is traced with; a batch of 1 would be taken for a constant."""


_DTYPES = {"float": "float32", "double": "float64", "string": "object"}
"""ONNX Runtime's names of element types where they are not numpy's."""


class Reference(Protocol):
    """A model that answers; the first of `outputs` is the one that quality is judged on."""

    @property
    def outputs(self) -> tuple[str, ...]: ...

    def answer(self, inputs: Sample) -> dict[str, Array]:
        """The outputs for one batch of inputs, by name."""
        ...


@dataclass(frozen=True, slots=True)
class TorchReference:
    """A PyTorch module called with its inputs in the order of `inputs`, returning a tuple in that of `outputs`."""

    module: Any
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    example: Mapping[str, Any]
    """Tensors to trace the module with, by name; dimension 0 is the batch, of at least TRACE_BATCH."""
    dynamic: Mapping[int, tuple[str, int | None]]
    """Axis -> (its name, its largest size) of the axes that vary, alike in all inputs."""

    def read_inputs(self) -> tuple[TensorSpec, ...]:
        """The inputs that the exported graph will have."""
        return tuple(self._input_spec(name) for name in self.inputs)

    def _input_spec(self, name: str) -> TensorSpec:
        tensor = self.example[name]
        shape = tuple(self.dynamic[i][0] if i in self.dynamic else int(size) for i, size in enumerate(tensor.shape))
        return TensorSpec(name=name, dtype=str(tensor.dtype).removeprefix("torch."), shape=shape)

    def answer(self, inputs: Sample) -> dict[str, Array]:
        import torch

        with torch.inference_mode():
            results = self.module(*(torch.from_numpy(np.ascontiguousarray(inputs[name])) for name in self.inputs))
        return {name: result.numpy() for name, result in zip(self.outputs, results, strict=True)}


class OnnxReference:
    """An ONNX graph run by ONNX Runtime on the CPU in fp32, every graph optimisation disabled."""

    def __init__(self, graph: Path) -> None:
        import onnxruntime as ort

        options = ort.SessionOptions()
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.enable_cpu_mem_arena = False
        options.intra_op_num_threads = int(os.environ.get("OMP_NUM_THREADS", "0"))
        options.log_severity_level = 3
        options.add_session_config_entry("session.disable_prepacking", "1")
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self.session = ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])

    @property
    def outputs(self) -> tuple[str, ...]:
        return tuple(output.name for output in self.session.get_outputs())

    def answer(self, inputs: Sample) -> dict[str, Array]:
        wanted = {entry.name for entry in self.session.get_inputs()}
        results = self.session.run(None, {name: array for name, array in inputs.items() if name in wanted})
        return dict(zip(self.outputs, results, strict=True))

    def read_signature(self) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
        """Inputs and outputs of the graph; unnamed dynamic axes are called `<tensor>_<axis>`."""
        inputs, outputs = self.session.get_inputs(), self.session.get_outputs()
        return tuple(map(_read_spec, inputs)), tuple(map(_read_spec, outputs))


def _read_spec(entry: Any) -> TensorSpec:
    kind = entry.type.removeprefix("tensor(").removesuffix(")")
    shape: tuple[Dim, ...] = tuple(
        dim if isinstance(dim, int | str) else f"{entry.name}_{axis}" for axis, dim in enumerate(entry.shape)
    )
    return TensorSpec(name=entry.name, dtype=_DTYPES.get(kind, kind), shape=shape)
