"""Triton's "openvino" backend for servers that lack the native one: a Python-based backend around openvino.

It loads unmodified `backend: "openvino"` repositories on the CPU: reads the native backend's parameters, refuses a
configuration that disagrees with the model, and runs the requests of one batch as one call where their shapes allow.
Unlike the native one it takes batches of any size. Runs inside Triton's Python stub; imports nothing of pack.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy.typing as npt

sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]  # openvino would report that it was imported

import openvino as ov  # noqa: E402, TID253 - this file runs in the server, whose purpose is openvino
import triton_python_backend_utils as pb_utils  # type: ignore[import-not-found]  # noqa: E402 - in Triton's stub only

sys.path.append(str(Path(__file__).resolve().parents[1]))

from pack_requests import answer_requests, find_model, read_inputs  # type: ignore[import-not-found]  # noqa: E402

Array = npt.NDArray[Any]

_PROPERTIES = ("INFERENCE_NUM_THREADS", "NUM_STREAMS", "PERFORMANCE_HINT", "INFERENCE_PRECISION_HINT")
"""Parameters that go to OpenVINO as they are; the last one is ours alone: the native backend has HINT_BF16 only."""

_TYPES = {
    "boolean": "TYPE_BOOL",
    "u8": "TYPE_UINT8",
    "u16": "TYPE_UINT16",
    "u32": "TYPE_UINT32",
    "u64": "TYPE_UINT64",
    "i8": "TYPE_INT8",
    "i16": "TYPE_INT16",
    "i32": "TYPE_INT32",
    "i64": "TYPE_INT64",
    "f16": "TYPE_FP16",
    "f32": "TYPE_FP32",
    "f64": "TYPE_FP64",
}


class TritonPythonModel:
    """One instance of the model: one compiled model and its inference request."""

    def initialize(self, args: Mapping[str, str]) -> None:
        """Loads the model; any exception makes Triton refuse it with its text."""
        config = json.loads(args["model_config"])
        for group in config.get("instance_group", []):
            if group.get("kind") == "KIND_GPU":
                raise pb_utils.TritonModelException("KIND_GPU: the openvino backend supports CPUs only")
        path = find_model(args, config.get("default_model_filename") or "model.xml")
        properties = _read_properties(config)
        compiled = ov.Core().compile_model(str(path), "CPU", properties)
        wanted = properties.get("INFERENCE_PRECISION_HINT")
        actual = compiled.get_property("INFERENCE_PRECISION_HINT").to_string()
        if wanted and wanted != actual:  # OpenVINO falls back without a word
            raise pb_utils.TritonModelException(f"this CPU computes in {actual} what the model asks for in {wanted}")
        self._request = compiled.create_infer_request()
        self._max_batch = int(config.get("max_batch_size", 0))
        _check_tensors("input", config["input"], compiled.inputs, self._max_batch)
        _check_tensors("output", config["output"], compiled.outputs, self._max_batch)
        given = {tensor["name"] for tensor in config["input"]}
        if missing := [port.any_name for port in compiled.inputs if not given.intersection(port.names)]:
            raise pb_utils.TritonModelException(f"the configuration lacks the model's input(s) {', '.join(missing)}")

    def execute(self, requests: Sequence[Any]) -> list[Any]:
        """One response a request, in order; a request that fails answers with its own error."""
        feeds = [read_inputs(request) for request in requests]
        responses: list[Any] = answer_requests(requests, feeds, self._max_batch > 0, self._answer)
        return responses

    def _answer(self, wanted: Sequence[str], feed: Mapping[str, Array]) -> dict[str, Array]:
        found = self._request.infer(feed, share_inputs=True)
        return {name: array for port, array in found.items() for name in port.names}


def _read_properties(config: Mapping[str, Any]) -> dict[str, Any]:
    parameters = {name: value["string_value"] for name, value in config.get("parameters", {}).items()}
    properties: dict[str, Any] = {name: parameters[name] for name in _PROPERTIES if name in parameters}
    if parameters.get("HINT_BF16") == "YES":
        properties["INFERENCE_PRECISION_HINT"] = "bf16"
    return {**properties, "ENABLE_CPU_PINNING": False}  # several instances would be pinned to the same cores


def _check_tensors(kind: str, configured: Sequence[Mapping[str, Any]], ports: Sequence[Any], max_batch: int) -> None:
    """Raises when a configured tensor is not the model's: name, element type, number of axes, fixed sizes."""
    actual = {name: port for port in ports for name in port.names}
    for tensor in configured:
        name = tensor["name"]
        if name not in actual:
            known = ", ".join(repr(port.any_name) for port in ports)
            raise pb_utils.TritonModelException(f"unexpected {kind} '{name}': the model has {known}")
        port = actual[name]
        expected = _TYPES.get(port.element_type.get_type_name(), port.element_type.get_type_name())
        if tensor["data_type"] != expected:
            raise pb_utils.TritonModelException(f"{kind} '{name}' is {tensor['data_type']}, the model has {expected}")
        dims = [int(d) for d in tensor.get("reshape", {}).get("shape", tensor["dims"])]
        shape = [-1, *dims] if max_batch > 0 else dims
        fixed = [d.get_length() if d.is_static else -1 for d in port.partial_shape]
        if len(shape) != len(fixed) or any(
            -1 not in pair and pair[0] != pair[1] for pair in zip(shape, fixed, strict=False)
        ):
            raise pb_utils.TritonModelException(f"{kind} '{name}' has shape {shape}, the model has {fixed}")
        if max_batch > 0 and fixed[0] != -1:
            raise pb_utils.TritonModelException(
                f"{kind} '{name}' has a fixed first axis of {fixed[0]}, so max_batch_size must be 0"
            )
