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
TENSORRT = "TensorrtExecutionProvider"
CUDA = "cuda"
NO_GRAPH = "-1"
MOST_GRAPHS = 64
"""Recorded graphs at most, as ONNX Runtime cannot give one up; further shapes run kernel by kernel."""

PROVIDER_OPTIONS = {"tf32": "use_tf32", "graph": "enable_cuda_graph", "nhwc": "prefer_nhwc"}
"""Options of `load` -> those of the provider; all are off where they are not given."""

SHAPE_OPTIONS = "trt_profile_"
"""How options of TensorRT's provider begin that `load` takes as they are: least, usual and largest shapes,
"ids:1x1,mask:1x1"."""

MOST_SHAPES = 256
"""Shapes that buffers are kept for, at most, beside those of recorded graphs."""
MOST_LOOSE_BYTES = 2**28
"""Of the device's memory, in inputs and outputs of shapes without a graph; the last shape's are kept even where they
alone are more. Requests bring shapes that no job has measured the memory of."""

Inputs = Mapping[str, Any]


@dataclass(slots=True)
class Bound:
    """Buffers on the device for one shape of the inputs, and how they are run."""

    inputs: dict[str, Any]
    binding: Any
    """Which keeps the outputs of its last call, too."""
    options: Any
    outputs: dict[str, Any] = field(default_factory=dict)
    """Buffers that a recorded graph writes; empty where the provider allocates them in each call."""
    kept_bytes: int = 0
    """Inputs and outputs on the device."""


@dataclass(slots=True)
class Session:
    """A model on the device and what was prepared for each shape."""

    model: Any
    device: int
    is_graph: bool
    outputs: list[str]
    free_bytes: int | None
    """Of the device's memory before the model was loaded; None where the driver does not say."""
    bound: dict[tuple[Any, ...], Bound] = field(default_factory=dict)
    """Of shapes that have had a whole call, which tells how large their outputs are."""
    graphs: int = 0
    """Recorded so far; each has a number."""
    is_recordable: bool = True
    """Until a recording has failed."""


def load(model: str, options: Mapping[str, Any], threads: int) -> Session:
    """A session with `threads` threads of the host, and the options of `open_session`. Engines of TensorRT are kept in
    the bundle, so that the next process need not build them."""
    settings = ort.SessionOptions()
    settings.intra_op_num_threads = threads
    settings.inter_op_num_threads = 1
    settings.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    settings.log_severity_level = LOG_ERRORS_ONLY
    return open_session(
        model, settings, {"engine_cache": str(Path(model).resolve().parent.parent / "engines"), **options}
    )


def open_session(model: str, settings: Any, options: Mapping[str, Any]) -> Session:
    """A session with these SessionOptions on the first GPU that this process may use, or the one `device` numbers.

    Options, all false by default: `tf32` computes fp32 products with 10 bits of mantissa, as ONNX Runtime does where
    nobody says otherwise; `graph` records CUDA graphs; `nhwc` lays convolutions out with the channels last; `tensorrt`
    has TensorRT run what it can, in the types of the graph, built for the shapes in options that begin with
    SHAPE_OPTIONS, and `engine_cache` names a folder for what it built. Raises RuntimeError where there is no GPU, or
    CUDA graphs were asked for and some operator would run elsewhere, or TensorRT.
    """
    if hasattr(ort, "preload_dlls"):
        ort.preload_dlls()  # CUDA and cuDNN of pip's packages, where the system has none
    device = int(options.get("device", 0))
    free_bytes = read_free_bytes(device)
    provider = {theirs: "1" if options.get(ours, False) else "0" for ours, theirs in PROVIDER_OPTIONS.items()}
    is_graph, is_tensorrt = bool(options.get("graph", False)), bool(options.get("tensorrt", False))
    if is_graph and is_tensorrt:
        raise RuntimeError(
            "TensorRT's provider has one execution context for all shapes, where CUDA graphs answer wrongly: leave "
            "`graph` out (`pack_cuda_graph` of a model in Triton)"
        )
    first = [(TENSORRT, describe_tensorrt(options, device))] if is_tensorrt else []
    providers = [*first, (PROVIDER, {"device_id": str(device), **provider}), "CPUExecutionProvider"]
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
    if is_tensorrt and TENSORRT not in session.get_providers():
        raise RuntimeError(
            f"onnxruntime {ort.__version__} could not use TensorRT: it needs libnvinfer of the version that it was "
            "built with, where the loader finds it"
        )
    return Session(session, device, is_graph, [output.name for output in session.get_outputs()], free_bytes)


def describe_tensorrt(options: Mapping[str, Any], device: int) -> dict[str, str]:
    """Options of TensorRT's provider."""
    told = {"device_id": str(device), "trt_cuda_graph_enable": "0"}
    told.update({name: str(value) for name, value in options.items() if name.startswith(SHAPE_OPTIONS)})
    if options.get("engine_cache"):
        told.update({f"trt_{kind}_cache_enable": "1" for kind in ("engine", "timing")})
        told.update({f"trt_{kind}_cache_path": str(options["engine_cache"]) for kind in ("engine", "timing")})
    return told


def run(session: Session, inputs: Inputs) -> dict[str, Any]:
    """Every output of the graph by name, on the host.

    Raises what ONNX Runtime does, and RuntimeError once where no graph can be recorded: no other shape gets one from
    then on.
    """
    key = tuple((name, array.shape, array.dtype.str) for name, array in sorted(inputs.items()))
    bound = session.bound.get(key)
    is_new = bound is None
    if bound is None:
        bound = bind_inputs(session, inputs)
    else:
        for name, value in bound.inputs.items():
            value.update_inplace(np.ascontiguousarray(inputs[name]))
        if session.is_graph and session.is_recordable and not bound.outputs and session.graphs < MOST_GRAPHS:
            record_graph(session, bound)
    session.model.run_with_iobinding(bound.binding, bound.options)
    values = bound.outputs or dict(zip(session.outputs, bound.binding.get_outputs(), strict=True))
    answers = {name: value.numpy() for name, value in values.items()}
    if is_new:
        bound.kept_bytes = sum(array.nbytes for array in (*inputs.values(), *answers.values()))
        forget_oldest(session, bound.kept_bytes)
        session.bound[key] = bound
    return answers


def forget_oldest(session: Session, needed_bytes: int) -> None:
    """Makes room for the buffers of one more shape; those of a recorded graph stay, as it reads and writes them."""
    loose = {key: bound.kept_bytes for key, bound in session.bound.items() if not bound.outputs}
    count, kept_bytes = len(loose), sum(loose.values())
    for key, own_bytes in loose.items():
        if count < MOST_SHAPES and kept_bytes + needed_bytes <= MOST_LOOSE_BYTES:
            break
        del session.bound[key]
        count, kept_bytes = count - 1, kept_bytes - own_bytes


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

    Raises RuntimeError where nothing can be recorded, with the first line of ONNX Runtime's reason, and leaves `bound`
    as it was.
    """
    binding, outputs = session.model.io_binding(), {}
    for name, value in bound.inputs.items():
        binding.bind_ortvalue_input(name, value)
    for name, value in zip(session.outputs, bound.binding.get_outputs(), strict=True):
        outputs[name] = ort.OrtValue.ortvalue_from_numpy(value.numpy(), CUDA, session.device)
        binding.bind_ortvalue_output(name, outputs[name])
    session.graphs += 1
    options = make_run_options(str(session.graphs))
    try:
        session.model.run_with_iobinding(binding, options)
    except Exception as error:
        session.is_recordable = False
        raise RuntimeError(f"capture failed: {first_line(error)}") from error
    bound.binding, bound.options, bound.outputs = binding, options, outputs


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


def device_memory_mib(session: Session) -> float | None:
    """What the device's free memory has lost since before the model was loaded: weights, workspace and graphs.

    ONNX Runtime keeps what it once took, so at the end of a job this is the most that the model had; another process
    that takes or frees memory meanwhile counts too. The CUDA context itself does not. None where the driver is silent.
    """
    free_bytes = read_free_bytes(session.device)
    if free_bytes is None or session.free_bytes is None:
        return None
    return max(0, session.free_bytes - free_bytes) / 2**20


def read_free_bytes(device: int) -> int | None:
    """Free memory of the device, by its driver, in the context that ONNX Runtime uses too."""
    try:
        cuda = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return None
    handle, context = ctypes.c_int(), ctypes.c_void_p()
    free, total = ctypes.c_size_t(), ctypes.c_size_t()
    if cuda.cuInit(0) or cuda.cuDeviceGet(ctypes.byref(handle), device):
        return None
    if cuda.cuDevicePrimaryCtxRetain(ctypes.byref(context), handle) or cuda.cuCtxPushCurrent_v2(context):
        return None
    failed = cuda.cuMemGetInfo_v2(ctypes.byref(free), ctypes.byref(total))
    cuda.cuCtxPopCurrent_v2(ctypes.byref(context))
    return None if failed else free.value


def first_line(error: Exception) -> str:
    """The first line of a message that says something."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
