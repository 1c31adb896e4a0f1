"""Triton's side of a Python-based backend, without a Triton."""

from __future__ import annotations

import importlib.util
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from served_packages import WIDTH


class Tensor:
    def __init__(self, name: str, array: np.ndarray) -> None:
        self._name, self._array = name, array

    def name(self) -> str:
        return self._name

    def as_numpy(self) -> np.ndarray:
        return self._array


class Request:
    def __init__(self, outputs: tuple[str, ...] = ("y",), **inputs: np.ndarray) -> None:
        self._outputs, self._inputs = outputs, inputs

    def inputs(self) -> list[Tensor]:
        return [Tensor(name, array) for name, array in self._inputs.items()]

    def requested_output_names(self) -> list[str]:
        return list(self._outputs)


class Response:
    def __init__(self, output_tensors: list[Tensor] | None = None, error: Exception | None = None) -> None:
        self.outputs = {tensor.name(): tensor.as_numpy() for tensor in output_tensors or ()}
        self.error = error


def import_backend(path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The module at `path`, with stand-ins for what Triton's stub gives it."""
    utilities = types.ModuleType("triton_python_backend_utils")
    for name, value in {
        "Tensor": Tensor,
        "InferenceResponse": Response,
        "TritonError": RuntimeError,
        "TritonModelException": RuntimeError,
    }.items():
        setattr(utilities, name, value)
    monkeypatch.setitem(sys.modules, "triton_python_backend_utils", utilities)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "pack_requests", raising=False)
    spec = importlib.util.spec_from_file_location("backend_under_test", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def make_config(**changes: Any) -> dict[str, Any]:
    return {
        "max_batch_size": 8,
        "input": [{"name": "x", "data_type": "TYPE_FP32", "dims": [WIDTH]}],
        "output": [{"name": "y", "data_type": "TYPE_FP32", "dims": [WIDTH]}],
        **changes,
    }


def rows(*values: float) -> np.ndarray:
    return np.array([[value] * WIDTH for value in values], np.float32)
