"""Triton's "tensorrt" backend for servers that lack the native one: a Python-based backend around tensorrt.

It loads unmodified `backend: "tensorrt"` repositories on a GPU, by the engine that measured the candidate
(`tensorrt_engine.py`, which lies beside this file with its parts) and refuses a plan of another TensorRT or GPU, and a
configuration that disagrees with the engine. It chooses the profile by the shapes of each call. Of `optimization.cuda`
it reads nothing: `pack_cuda_graph` has it record a CUDA graph of each shape that comes again.
Runs inside Triton's Python stub; imports nothing of pack.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import triton_python_backend_utils as pb_utils  # type: ignore[import-not-found]  # exists in Triton's stub only

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
        path = _find_model(args, self._choose_file(config, device))
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
        feeds = [{tensor.name(): tensor.as_numpy() for tensor in request.inputs()} for request in requests]
        responses: list[Any] = [None] * len(requests)
        for group in _group(feeds, self._is_batched):
            for index, response in zip(group, self._run(group, feeds, requests), strict=True):
                responses[index] = response
        return responses

    def _choose_file(self, config: Mapping[str, Any], device: int) -> str:
        """The one for the GPU's compute capability where the configuration has one, as in the native backend."""
        usual = str(config.get("default_model_filename") or "model.plan")
        by_capability = config.get("cc_model_filenames") or {}
        if not by_capability:
            return usual
        major, minor = self._engine.Device(device).compute_capability()
        return str(by_capability.get(f"{major}.{minor}", usual))

    def _run(self, group: Sequence[int], feeds: Sequence[dict[str, Array]], requests: Sequence[Any]) -> list[Any]:
        """Responses of the requests in `group`, whose inputs fit together, from one call of the engine."""
        feed = feeds[group[0]]
        if len(group) > 1:
            feed = {name: np.concatenate([feeds[index][name] for index in group]) for name in feed}
        try:
            outputs = self._engine.run(self._session, feed)
        except Exception as error:  # a shape that no profile takes, a lack of memory
            if len(group) == 1:
                return [pb_utils.InferenceResponse(error=pb_utils.TritonError(str(error)))]
            return [self._run([index], feeds, requests)[0] for index in group]
        if len(group) == 1:
            return [_respond(requests[group[0]], outputs)]
        responses, start = [], 0
        for index in group:
            end = start + len(next(iter(feeds[index].values())))
            responses.append(_respond(requests[index], {name: array[start:end] for name, array in outputs.items()}))
            start = end
        return responses


def _respond(request: Any, outputs: Mapping[str, Array]) -> Any:
    return pb_utils.InferenceResponse(
        [pb_utils.Tensor(name, outputs[name]) for name in request.requested_output_names()]
    )


def _group(feeds: Sequence[Mapping[str, Array]], is_batched: bool) -> Iterable[Sequence[int]]:
    """Indices of requests that can run as one call: the same inputs, equal in all axes but the batch."""
    groups: dict[object, list[int]] = {}
    for index, feed in enumerate(feeds):
        shapes = tuple((name, array.shape[1:]) for name, array in sorted(feed.items()))
        groups.setdefault(shapes if is_batched else index, []).append(index)
    return groups.values()


def _find_model(args: Mapping[str, str], filename: str) -> Path:
    repository, version = Path(args["model_repository"]), args["model_version"]
    tried = [repository / version / filename, repository / args["model_name"] / version / filename]
    for path in tried:
        if path.is_file():
            return path
    raise pb_utils.TritonModelException(f"no model file at {tried[0]}")


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
