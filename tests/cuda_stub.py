"""An onnxruntime of one doubling operator whose device is a dictionary: what the CUDA engine does, without a GPU."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np

from packc.samples import Array


class Value:
    """An OrtValue on the device; its buffer stays the same array."""

    def __init__(self, array: Array) -> None:
        self.buffer = array.copy()

    @classmethod
    def ortvalue_from_numpy(cls, array: Array, device: str, index: int) -> Value:
        assert (device, array.flags["C_CONTIGUOUS"]) == ("cuda", True)
        return cls(array)

    def update_inplace(self, array: Array) -> None:
        assert (self.buffer.shape, self.buffer.dtype) == (array.shape, array.dtype)
        self.buffer[...] = array

    def numpy(self) -> Array:
        return self.buffer.copy()


class Binding:
    def __init__(self) -> None:
        self.inputs: dict[str, Value] = {}
        self.outputs: dict[str, Value | None] = {}

    def bind_ortvalue_input(self, name: str, value: Value) -> None:
        self.inputs[name] = value

    def bind_ortvalue_output(self, name: str, value: Value) -> None:
        self.outputs[name] = value

    def bind_output(self, name: str, device: str, index: int) -> None:
        self.outputs[name] = None

    def get_outputs(self) -> list[Value]:
        """Those that there are: none before a call without failure."""
        return [value for value in self.outputs.values() if value is not None]


class RunOptions:
    graph = ""

    def add_run_config_entry(self, key: str, value: str) -> None:
        assert key == "gpu_graph_id"
        self.graph = value


@dataclass
class StubOrt:
    """Stands in for the module `onnxruntime`; `failure` is what recording a graph raises, `load_failure` loading, and
    `call_failure` a call without a graph."""

    providers: tuple[str, ...] = ("CUDAExecutionProvider", "CPUExecutionProvider")
    failure: str | None = None
    load_failure: str | None = None
    call_failure: str | None = None
    runs: list[str | None] = field(default_factory=list)
    """The graph of each call; None for calls without options."""
    asked: dict[str, str] = field(default_factory=dict)
    """Provider options of the last session."""

    __version__ = "1.0"
    OrtValue = Value
    RunOptions = RunOptions
    GraphOptimizationLevel = SimpleNamespace(ORT_ENABLE_ALL=99)

    def SessionOptions(self) -> SimpleNamespace:  # noqa: N802 - as onnxruntime has it
        return SimpleNamespace()

    def get_available_providers(self) -> list[str]:
        return list(self.providers)

    def InferenceSession(self, model: str, settings: Any, providers: Sequence[Any]) -> StubSession:  # noqa: N802
        if self.load_failure:
            raise RuntimeError(self.load_failure)
        self.asked.update(providers[0][1])
        return StubSession(self)


@dataclass
class StubSession:
    ort: StubOrt

    def get_providers(self) -> list[str]:
        return list(self.ort.providers)

    def get_inputs(self) -> list[SimpleNamespace]:
        return [SimpleNamespace(name="x", type="tensor(float)", shape=["batch", "width"])]

    def get_outputs(self) -> list[SimpleNamespace]:
        return [SimpleNamespace(name="y", type="tensor(float)", shape=["batch", "width"])]

    def io_binding(self) -> Binding:
        return Binding()

    def run_with_iobinding(self, binding: Binding, options: RunOptions | None) -> None:
        graph = options.graph if options else None
        failure = self.ort.call_failure if graph in (None, "-1") else self.ort.failure
        if failure:
            raise RuntimeError(failure)
        self.ort.runs.append(graph)
        doubled = 2 * binding.inputs["x"].buffer
        for name, value in binding.outputs.items():
            if value is None:
                binding.outputs[name] = Value(np.ascontiguousarray(doubled))
            else:
                value.buffer[...] = doubled
