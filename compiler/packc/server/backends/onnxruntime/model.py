"""Triton's "onnxruntime" backend for servers that lack the native one: a Python-based backend around onnxruntime.

It loads unmodified `backend: "onnxruntime"` repositories: on the CPU, and on a GPU where the instance group is of
KIND_GPU, by the engine that measured the candidate (`cuda_engine.py`, which lies beside this file). It reads the native
backend's parameters, refuses a configuration that disagrees with the graph, and runs the requests of one batch as one
call where their shapes allow.
Runs inside Triton's Python stub; imports nothing of pack.
"""

from __future__ import annotations

import ctypes
import json
import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime as ort  # noqa: TID253 - this file runs in the server, whose purpose is onnxruntime
import triton_python_backend_utils as pb_utils  # type: ignore[import-not-found]  # exists in Triton's stub only

sys.path.append(str(Path(__file__).resolve().parents[1]))

from pack_requests import Call, answer_requests, find_model, read_inputs  # type: ignore[import-not-found]

Array = npt.NDArray[Any]

_GRAPH_LEVELS = {
    -1: ort.GraphOptimizationLevel.ORT_ENABLE_BASIC,
    1: ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
    2: ort.GraphOptimizationLevel.ORT_DISABLE_ALL,
}
"""`optimization.graph.level`, whose scale is Triton's own; absent means everything on."""

_ON = ("1", "true")
"""What Triton's maps of strings call a switch that is on."""

_TYPES = {
    "tensor(bool)": "TYPE_BOOL",
    "tensor(uint8)": "TYPE_UINT8",
    "tensor(uint16)": "TYPE_UINT16",
    "tensor(uint32)": "TYPE_UINT32",
    "tensor(uint64)": "TYPE_UINT64",
    "tensor(int8)": "TYPE_INT8",
    "tensor(int16)": "TYPE_INT16",
    "tensor(int32)": "TYPE_INT32",
    "tensor(int64)": "TYPE_INT64",
    "tensor(float16)": "TYPE_FP16",
    "tensor(float)": "TYPE_FP32",
    "tensor(double)": "TYPE_FP64",
    "tensor(string)": "TYPE_STRING",
}


class TritonPythonModel:
    """One instance of the model: one session."""

    def initialize(self, args: Mapping[str, str]) -> None:
        """Loads the graph; any exception makes Triton refuse the model with its text."""
        config = json.loads(args["model_config"])
        path = find_model(args, _choose_file(config, args))
        graph, self._call = _open_session(path, config, args)
        self._max_batch = int(config.get("max_batch_size", 0))
        _check_tensors("input", config["input"], graph.get_inputs(), self._max_batch)
        _check_tensors("output", config["output"], graph.get_outputs(), self._max_batch)
        self._strings = {tensor["name"] for tensor in config["input"] if tensor["data_type"] == "TYPE_STRING"}
        given = {tensor["name"] for tensor in config["input"]}
        missing = [t.name for t in graph.get_inputs() if t.name not in given]
        if missing:
            raise pb_utils.TritonModelException(f"the configuration lacks the graph's input(s) {', '.join(missing)}")

    def execute(self, requests: Sequence[Any]) -> list[Any]:
        """One response a request, in order; a request that fails answers with its own error."""
        # arrays and not OrtValues or DLPack: 6 against 57 us a call on a small tensor, and no copy more
        feeds = [self._read(request) for request in requests]
        responses: list[Any] = answer_requests(requests, feeds, self._max_batch > 0, self._answer)
        return responses

    def _read(self, request: Any) -> dict[str, Array]:
        feed = read_inputs(request)
        return {name: _decode_strings(array) if name in self._strings else array for name, array in feed.items()}

    def _answer(self, wanted: Sequence[str], feed: Mapping[str, Array]) -> dict[str, Array]:
        return {name: _triton_array(array) for name, array in self._call(wanted, feed).items()}


def _triton_array(array: Array) -> Array:
    return array.astype(object) if array.dtype.kind in "US" else array


def _decode_strings(array: Array) -> Array:
    return np.array([item.decode() for item in array.ravel()], dtype=object).reshape(array.shape)


def _choose_file(config: Mapping[str, Any], args: Mapping[str, str]) -> str:
    """The one for the GPU's compute capability where the configuration has one, as in the native backend."""
    usual = str(config.get("default_model_filename") or "model.onnx")
    by_capability = config.get("cc_model_filenames") or {}
    if not by_capability or not _is_on_gpu(args):
        return usual
    return str(by_capability.get(_read_capability(int(args["model_instance_device_id"])), usual))


def _is_on_gpu(args: Mapping[str, str]) -> bool:
    return args.get("model_instance_kind", "CPU").removeprefix("KIND_") == "GPU"


def _read_capability(device: int) -> str:
    """The compute capability of a GPU, "9.0", by the CUDA driver (cuda.h: 75 and 76 are its major and minor number)."""
    cuda = ctypes.CDLL("libcuda.so.1")
    handle, numbers = ctypes.c_int(), []
    if cuda.cuInit(0) or cuda.cuDeviceGet(ctypes.byref(handle), device):
        raise pb_utils.TritonModelException(f"the CUDA driver does not know GPU {device}")
    for attribute in (75, 76):
        number = ctypes.c_int()
        cuda.cuDeviceGetAttribute(ctypes.byref(number), attribute, handle)
        numbers.append(str(number.value))
    return ".".join(numbers)


def _open_session(path: Path, config: Mapping[str, Any], args: Mapping[str, str]) -> tuple[Any, Call]:
    """The graph's session, and what answers a call: (names of outputs, inputs by name) -> outputs by name."""
    options = _session_options(config)
    if not _is_on_gpu(args):
        session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        return session, lambda wanted, feed: dict(zip(wanted, session.run(wanted, feed), strict=True))
    here = str(Path(__file__).parent)
    if here not in sys.path:
        sys.path.insert(0, here)
    engine = import_module("cuda_engine")
    asked, device = _cuda_options(config, engine.SHAPE_OPTIONS), int(args["model_instance_device_id"])
    on_gpu = engine.open_session(str(path), options, {**asked, "device": device})
    return on_gpu.model, lambda wanted, feed: {k: v for k, v in engine.run(on_gpu, feed).items() if k in wanted}


def _cuda_options(config: Mapping[str, Any], kept: str) -> dict[str, Any]:
    """Options of the engine, from those of the accelerators "cuda" and "tensorrt"; ONNX Runtime's own where none are.
    Those that begin with `kept` stay as they are.

    The native backend reads the same, but for `pack_cuda_graph`: it cannot record CUDA graphs.
    """
    accelerators = config.get("optimization", {}).get("execution_accelerators", {}).get("gpu_execution_accelerator", [])
    given: dict[str, str] = {}
    for accelerator in accelerators:
        if accelerator["name"] not in ("cuda", "tensorrt"):
            raise pb_utils.TritonModelException(
                f"this onnxruntime backend has no accelerator {accelerator['name']!r} for GPUs, only cuda and tensorrt"
            )
        given |= accelerator.get("parameters", {})
    graph = config.get("parameters", {}).get("pack_cuda_graph", {}).get("string_value", "0")
    return {
        "tf32": given.get("use_tf32", "1") in _ON,
        "nhwc": given.get("prefer_nhwc", "0") in _ON,
        "graph": graph in _ON,
        "tensorrt": any(accelerator["name"] == "tensorrt" for accelerator in accelerators),
        **{name: value for name, value in given.items() if name.startswith(kept)},
    }


def _session_options(config: Mapping[str, Any]) -> Any:
    parameters = {name: value["string_value"] for name, value in config.get("parameters", {}).items()}
    options = ort.SessionOptions()
    options.intra_op_num_threads = int(parameters.get("intra_op_thread_count", 0))
    options.inter_op_num_threads = int(parameters.get("inter_op_thread_count", 0))
    if int(parameters.get("execution_mode", 0)):
        options.execution_mode = ort.ExecutionMode.ORT_PARALLEL
    options.enable_cpu_mem_arena = parameters.get("enable_mem_arena", "1") != "0"
    options.enable_mem_pattern = parameters.get("enable_mem_pattern", "1") != "0"
    level = config.get("optimization", {}).get("graph", {}).get("level", 0)
    options.graph_optimization_level = _GRAPH_LEVELS.get(level, ort.GraphOptimizationLevel.ORT_ENABLE_ALL)
    for name, value in parameters.items():
        if name.startswith("session."):
            options.add_session_config_entry(name, value)
    options.log_severity_level = 3
    return options


def _check_tensors(kind: str, configured: Sequence[Mapping[str, Any]], actual: Sequence[Any], max_batch: int) -> None:
    """Raises when a configured tensor is not the graph's: name, element type, number of axes, fixed sizes."""
    graph = {tensor.name: tensor for tensor in actual}
    for tensor in configured:
        name = tensor["name"]
        if name not in graph:
            raise pb_utils.TritonModelException(
                f"unexpected {kind} '{name}': the graph has {', '.join(repr(n) for n in sorted(graph))}"
            )
        expected = _TYPES.get(graph[name].type, graph[name].type)
        if tensor["data_type"] != expected:
            raise pb_utils.TritonModelException(f"{kind} '{name}' is {tensor['data_type']}, the graph has {expected}")
        dims = [int(d) for d in tensor.get("reshape", {}).get("shape", tensor["dims"])]
        shape = [-1, *dims] if max_batch > 0 else dims
        fixed = [d if isinstance(d, int) else -1 for d in graph[name].shape]
        if len(shape) != len(fixed) or any(
            -1 not in pair and pair[0] != pair[1] for pair in zip(shape, fixed, strict=False)
        ):
            raise pb_utils.TritonModelException(f"{kind} '{name}' has shape {shape}, the graph has {graph[name].shape}")
        if max_batch > 0 and fixed[0] != -1:
            raise pb_utils.TritonModelException(
                f"{kind} '{name}' has a fixed first axis of {fixed[0]}, so max_batch_size must be 0"
            )
