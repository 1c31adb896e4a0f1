"""Triton's "tensorrt" backend for servers that lack the native one: a Python-based backend around tensorrt.

It loads unmodified `backend: "tensorrt"` repositories on a GPU, by the engine that measured the candidate
(`tensorrt_engine.py`, which lies beside this file with its parts) and refuses a plan of another TensorRT or GPU, and a
configuration that disagrees with the engine. It chooses the profile by the shapes of each call. Of `optimization.cuda`
it reads nothing: `pack_cuda_graph` has it record a CUDA graph of a shape that comes several times in a row.
Runs inside Triton's Python stub; imports nothing of pack.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy.typing as npt
import triton_python_backend_utils as pb_utils  # type: ignore[import-not-found]  # exists in Triton's stub only

sys.path.append(str(Path(__file__).resolve().parents[1]))

from pack_requests import answer_requests, find_model, read_inputs  # type: ignore[import-not-found]

Array = npt.NDArray[Any]

_TYPES = {
    "bool": "TYPE_BOOL",
    "uint8": "TYPE_UINT8",
    "int8": "TYPE_INT8",
    "int32": "TYPE_INT32",
    "int64": "TYPE_INT64",
    "float16": "TYPE_FP16",
    "float32": "TYPE_FP32",
}


class TritonPythonModel:
    """One instance of the model: one engine on the device."""

    def initialize(self, args: Mapping[str, str]) -> None:
        """Loads the plan; any exception makes Triton refuse the model with its text."""
        config = json.loads(args["model_config"])
        if args.get("model_instance_kind", "GPU").removeprefix("KIND_") != "GPU":
            raise pb_utils.TritonModelException("KIND_CPU: the tensorrt backend supports GPUs only")
        self._engine, device = _import_engine(), int(args.get("model_instance_device_id", 0))
        path = find_model(args, self._choose_file(config, device))
        graph = config.get("parameters", {}).get("pack_cuda_graph", {}).get("string_value", "0")
        options = {"device": device, "graph": graph in ("1", "true")}
        self._session = self._engine.load(str(path), options, 1)
        self._is_batched = int(config.get("max_batch_size", 0)) > 0
        _check_tensors("input", config["input"], self._session.inputs)
        _check_tensors("output", config["output"], self._session.outputs)
        given = {tensor["name"] for tensor in config["input"]}
        if missing := [name for name in self._session.inputs if name not in given]:
            raise pb_utils.TritonModelException(f"the configuration lacks the engine's input(s) {', '.join(missing)}")

    def execute(self, requests: Sequence[Any]) -> list[Any]:
        """One response a request, in order; a request that fails answers with its own error."""
        feeds = [read_inputs(request) for request in requests]
        responses: list[Any] = answer_requests(requests, feeds, self._is_batched, self._answer)
        return responses

    def _answer(self, wanted: Sequence[str], feed: Mapping[str, Array]) -> dict[str, Array]:
        outputs: dict[str, Array] = self._engine.run(self._session, feed)
        return outputs

    def _choose_file(self, config: Mapping[str, Any], device: int) -> str:
        """The one for the GPU's compute capability where the configuration has one, as in the native backend."""
        usual = str(config.get("default_model_filename") or "model.plan")
        by_capability = config.get("cc_model_filenames") or {}
        if not by_capability:
            return usual
        major, minor = self._engine.Device(device).compute_capability()
        return str(by_capability.get(f"{major}.{minor}", usual))


def _import_engine() -> Any:
    here = str(Path(__file__).parent)
    if here not in sys.path:
        sys.path.append(here)  # last: nothing here may stand before tensorrt itself
    return import_module("tensorrt_engine")


def _check_tensors(kind: str, configured: Sequence[Mapping[str, Any]], actual: Mapping[str, Any]) -> None:
    """Raises when a configured tensor is not the engine's: name and element type. Shapes are the profiles' matter."""
    for tensor in configured:
        name = tensor["name"]
        if name not in actual:
            raise pb_utils.TritonModelException(
                f"unexpected {kind} '{name}': the engine has {', '.join(repr(n) for n in sorted(actual))}"
            )
        expected = _TYPES.get(actual[name].dtype.name, actual[name].dtype.name)
        if tensor["data_type"] != expected:
            raise pb_utils.TritonModelException(f"{kind} '{name}' is {tensor['data_type']}, the engine has {expected}")
