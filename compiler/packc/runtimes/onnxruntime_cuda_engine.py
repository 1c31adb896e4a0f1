"""Runs an ONNX model with ONNX Runtime on an NVIDIA GPU, for the runner of a job bundle.

packc.jobs.job has the contract. Copied into bundles as engine.py, so it imports nothing of packc.

A call takes arrays of the host and gives arrays of the host, as a server's does, so that its time has both copies in
it. Where `graph` is set, the second call of a shape records a CUDA graph, one launch for all kernels, and later calls
replay it from and into the same buffers on the device.
"""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort  # noqa: TID253 - this file runs in bundles, whose purpose is onnxruntime

LOG_ERRORS_ONLY = 3
PROVIDER = "CUDAExecutionProvider"
CUDA = "cuda"
NO_GRAPH = "-1"
MOST_GRAPHS = 64
"""Recorded graphs at most, as ONNX Runtime cannot give one up; further shapes run kernel by kernel."""

PROVIDER_OPTIONS = {"tf32": "use_tf32", "graph": "enable_cuda_graph", "nhwc": "prefer_nhwc"}
"""Options of `load` -> those of the provider; all are off where they are not given."""

Inputs = Mapping[str, Any]


@dataclass(slots=True)
class Bound:
    """Buffers on the device for one shape of the inputs, and how they are run."""

    inputs: dict[str, Any]
    binding: Any
    options: Any
    outputs: dict[str, Any] = field(default_factory=dict)
    """Buffers that a recorded graph writes; empty where the provider allocates them in each call."""


@dataclass(slots=True)
class Session:
    """A model on the device and what was prepared for each shape."""

    model: Any
    device: int
    is_graph: bool
    outputs: list[str]
    bound: dict[tuple[Any, ...], Bound] = field(default_factory=dict)
    graphs: int = 0


def load(model: str, options: Mapping[str, Any], threads: int) -> Session:
    """A session on the first GPU that this process may use, or on the one that `device` numbers.

    Options, all false by default: `tf32` computes fp32 products with 10 bits of mantissa; `graph` records CUDA graphs;
    `nhwc` lays convolutions out with the channels last. Raises RuntimeError where there is no GPU, or a CUDA graph was
    asked for and some operator would run elsewhere.
    """
    if hasattr(ort, "preload_dlls"):
        ort.preload_dlls()  # CUDA and cuDNN of pip's packages, where the system has none
    device = int(options.get("device", 0))
    settings = ort.SessionOptions()
    settings.intra_op_num_threads = threads
    settings.inter_op_num_threads = 1
    settings.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    settings.log_severity_level = LOG_ERRORS_ONLY
    provider = {theirs: "1" if options.get(ours, False) else "0" for ours, theirs in PROVIDER_OPTIONS.items()}
    providers = [(PROVIDER, {"device_id": str(device), **provider}), "CPUExecutionProvider"]
    is_graph = bool(options.get("graph", False))
    try:
        session = ort.InferenceSession(model, settings, providers=providers)
    except Exception as error:
        if is_graph and "graph" in str(error):
            raise RuntimeError(f"capture failed: {first_line(error)}") from error
        raise
    if PROVIDER not in session.get_providers():
        have = ", ".join(ort.get_available_providers())
        raise RuntimeError(
            f"onnxruntime {ort.__version__} could not use a GPU (its providers: {have}): it needs onnxruntime-gpu, "
            "an NVIDIA driver, and CUDA and cuDNN of the versions that it was built with"
        )
    return Session(session, device, is_graph, [output.name for output in session.get_outputs()])


def run(session: Session, inputs: Inputs) -> dict[str, Any]:
    """Every output of the graph by name, on the host."""
    key = tuple((name, array.shape, array.dtype.str) for name, array in sorted(inputs.items()))
    bound = session.bound.get(key)
    if bound is None:
        bound = session.bound[key] = bind_inputs(session, inputs)
    else:
        for name, value in bound.inputs.items():
            value.update_inplace(np.ascontiguousarray(inputs[name]))
        if session.is_graph and not bound.outputs and session.graphs < MOST_GRAPHS:
            record_graph(session, bound)
    session.model.run_with_iobinding(bound.binding, bound.options)
    values = bound.outputs or dict(zip(session.outputs, bound.binding.get_outputs(), strict=True))
    return {name: value.numpy() for name, value in values.items()}


def bind_inputs(session: Session, inputs: Inputs) -> Bound:
    """Copies the inputs to the device; outputs are allocated there by each call, as their shapes are not known yet."""
    binding = session.model.io_binding()
    values = {}
    for name, array in inputs.items():
        values[name] = ort.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(array), CUDA, session.device)
        binding.bind_ortvalue_input(name, values[name])
    for name in session.outputs:
        binding.bind_output(name, CUDA, session.device)
    return Bound(values, binding, make_run_options(NO_GRAPH) if session.is_graph else None)


def record_graph(session: Session, bound: Bound) -> None:
    """Gives the outputs buffers of the shapes that the last call had, and has the next call record.

    Raises RuntimeError where nothing can be recorded; the first line of ONNX Runtime's reason is in it.
    """
    binding = session.model.io_binding()
    for name, value in bound.inputs.items():
        binding.bind_ortvalue_input(name, value)
    for name, value in zip(session.outputs, bound.binding.get_outputs(), strict=True):
        bound.outputs[name] = ort.OrtValue.ortvalue_from_numpy(value.numpy(), CUDA, session.device)
        binding.bind_ortvalue_output(name, bound.outputs[name])
    session.graphs += 1
    bound.binding, bound.options = binding, make_run_options(str(session.graphs))
    try:
        session.model.run_with_iobinding(binding, bound.options)
    except Exception as error:
        raise RuntimeError(f"capture failed: {first_line(error)}") from error


def make_run_options(graph: str) -> Any:
    """Options of a call that records or replays the graph of that number; NO_GRAPH for neither."""
    options = ort.RunOptions()
    options.add_run_config_entry("gpu_graph_id", graph)
    return options


def describe(session: Session) -> dict[str, str]:
    """The GPU's name as "device", and the versions of onnxruntime, the driver, and the CUDA that the driver offers."""
    facts = {"onnxruntime-gpu": ort.__version__, "device": "an NVIDIA GPU"}
    try:
        cuda = ctypes.CDLL("libcuda.so.1")
        name, version, handle = ctypes.create_string_buffer(256), ctypes.c_int(), ctypes.c_int()
        if cuda.cuInit(0) == 0 and cuda.cuDeviceGet(ctypes.byref(handle), session.device) == 0:
            cuda.cuDeviceGetName(name, len(name), handle)
            facts["device"] = name.value.decode()
        if cuda.cuDriverGetVersion(ctypes.byref(version)) == 0:
            facts["cuda"] = f"{version.value // 1000}.{version.value % 1000 // 10}"
        driver = Path("/proc/driver/nvidia/version").read_text("utf-8").split("Kernel Module")[1].split()
        facts["driver"] = next(word for word in driver if word[0].isdigit())
    except (OSError, IndexError, StopIteration):  # what a system does not tell is left out
        pass
    return facts


def first_line(error: Exception) -> str:
    """The first line of a message that says something."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
