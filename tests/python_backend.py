"""Runs a generated Python model without a Triton: a stand-in for `triton_python_backend_utils`."""

from __future__ import annotations

import sys
import types
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from google.protobuf.json_format import MessageToJson


class Tensor:
    def __init__(self, name: str, array: np.ndarray) -> None:
        self._name, self._array = name, array

    def name(self) -> str:
        return self._name

    def as_numpy(self) -> np.ndarray:
        return self._array


class TritonError(Exception):
    INVALID_ARG = 3

    def __init__(self, message: str, code: int = 0) -> None:
        super().__init__(message)
        self.code = code


class InferenceResponse:
    def __init__(self, output_tensors: list[Tensor] | None = None, error: TritonError | None = None) -> None:
        self.output_tensors, self.error = output_tensors or [], error


@dataclass
class Request:
    tensors: Mapping[str, np.ndarray]


def get_input_tensor_by_name(request: Request, name: str) -> Tensor:
    return Tensor(name, request.tensors[name])


class Answered(dict[str, np.ndarray]):
    """Outputs by name; `error` is the message of a request that was refused."""

    error: str | None = None


@contextmanager
def load_model(path: Path, config: Any = None) -> Iterator[Any]:
    """`call(*requests) -> list[Answered]` of the model.py at `path`, each request a mapping of arrays.

    `config` is its ModelConfig, for models that read it.
    """
    utils: Any = types.ModuleType("triton_python_backend_utils")
    for item in (Tensor, TritonError, InferenceResponse, get_input_tensor_by_name):
        setattr(utils, item.__name__, item)
    module = types.ModuleType("model")
    module.__file__ = str(path)
    modules, paths = dict(sys.modules), list(sys.path)
    sys.modules["triton_python_backend_utils"] = utils
    text = MessageToJson(config, preserving_proto_field_name=True) if config else "{}"
    try:
        exec(compile(path.read_text(), str(path), "exec"), module.__dict__)
        model = module.TritonPythonModel()
        if hasattr(model, "initialize"):
            model.initialize({"model_config": text, "model_repository": "/elsewhere", "model_version": "1"})

        def call(*requests: Mapping[str, np.ndarray]) -> list[Answered]:
            return [_read(response) for response in model.execute([Request(request) for request in requests])]

        yield call
    finally:
        sys.path[:] = paths
        for name in ("triton_python_backend_utils", "batches", "engine"):
            if name not in modules:
                sys.modules.pop(name, None)


def strings(*values: str | bytes) -> np.ndarray:
    """A batch of strings as Triton hands them over: [batch, 1], bytes."""
    return np.array([[v.encode() if isinstance(v, str) else v] for v in values], dtype=object)


def _read(response: InferenceResponse) -> Answered:
    answered = Answered({tensor.name(): tensor.as_numpy() for tensor in response.output_tensors})
    answered.error = str(response.error) if response.error else None
    return answered
