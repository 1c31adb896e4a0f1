"""Builds TensorRT engines from ONNX graphs and runs them, for the runner of a job bundle and from a command line.

packc.jobs.job has the contract. Copied into bundles as engine.py, so it imports nothing of packc: Python 3.8, numpy,
tensorrt, and the driver's libcuda through ctypes, which needs no CUDA toolkit of any version beside TensorRT's own.

One adapter for three dialects of TensorRT, told apart by what the module has: 8 is weakly typed (builder flags allow
precisions), 10 has strongly typed networks and is asked for them (the graph says each precision), 11 has no others.

A call takes arrays of the host and gives arrays of the host, as a server's does, so that its time has both copies in
it. Where `graph` is set, the second call of a shape records a CUDA graph, one launch for copies and kernels.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import math
import os
import platform
import re
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).resolve().parent
if __name__ == "__main__":  # Python looks beside a script first, where packc has a tensorrt.py of its own
    sys.path[:] = [place for place in sys.path if Path(place or ".").resolve() != HERE]

import tensorrt as trt  # noqa: TID253, E402 - this file runs where tensorrt is, and only there

LIBRARY = "libcuda.so.1"
OUT_OF_MEMORY = 2
MAJOR, MINOR = 75, 76
CAPTURE_THIS_THREAD = 1
"""Of cuda.h: CUDA_ERROR_OUT_OF_MEMORY, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR and _MINOR,
CU_STREAM_CAPTURE_MODE_THREAD_LOCAL."""

MOST_GRAPHS = 64
"""Recorded graphs at most; further shapes run kernel by kernel."""
MOST_SHAPES = 1024
"""Shapes that are prepared at a time, at most, beside those with a graph."""
MOST_MESSAGES = 50
KEPT_WARNINGS = 10

HOST_DTYPES = {
    "FLOAT": "float32", "HALF": "float16", "INT8": "int8", "INT32": "int32", "INT64": "int64", "BOOL": "bool",
    "UINT8": "uint8",
}  # fmt: skip
"""Names of tensorrt.DataType -> those of numpy; numpy has no others of TensorRT's."""

NEEDED_CAPABILITY = {"tf32": (8, 0), "bf16": (8, 0), "fp8": (8, 9)}
"""From which compute capability on tensor cores have a precision (NVIDIA's support matrix): Ampere, Ada."""

WEAK_FLAGS = {"fp16": ("FP16",), "int8": ("INT8", "FP16")}
"""Builder flags of dialect 8. Beside int8, what has no Q/DQ may be computed in fp16, as it would be in fp32 else."""

VERSION_COMPATIBLE = "version_compatible"
"""The option whose builder flag not every TensorRT has, and whose plans bring code."""


ORIGIN = ("tensorrt", "device", "compute_capability", "os")
"""The facts of a plan that decide where it loads."""
OF_THIS_MACHINE = ("device", "timing_cache")
"""Options of `build` that say where it runs, not what is built: facts, which are published, leave them out."""


class Device:
    """A GPU and its primary context, which TensorRT computes in too, through the driver."""

    def __init__(self, ordinal: int) -> None:
        """Raises RuntimeError where there is no GPU of this number. TensorRT itself may crash then."""
        try:
            self.cuda = ctypes.CDLL(LIBRARY)
        except OSError as error:
            raise RuntimeError(f"no NVIDIA driver: {error}") from error
        self.handle, self.context = ctypes.c_int(), ctypes.c_void_p()
        self.call("cuInit", 0)
        self.call("cuDeviceGet", ctypes.byref(self.handle), ordinal)
        self.call("cuDevicePrimaryCtxRetain", ctypes.byref(self.context), self.handle)
        self.enter()

    def call(self, function: str, *arguments: Any) -> None:
        """Calls the driver. Raises RuntimeError with the function and the name of its error."""
        status = getattr(self.cuda, function)(*arguments)
        if status == OUT_OF_MEMORY:
            raise RuntimeError(f"out of GPU memory ({function})")
        if status:
            name = ctypes.c_char_p()
            self.cuda.cuGetErrorName(status, ctypes.byref(name))
            raise RuntimeError(f"{function} failed: {name.value.decode() if name.value else status}")

    def enter(self) -> None:
        """Makes the context that of this thread."""
        self.call("cuCtxSetCurrent", self.context)

    def open_stream(self) -> int:
        stream = ctypes.c_void_p()
        self.call("cuStreamCreate", ctypes.byref(stream), 1)  # does not wait for the default stream
        return stream.value or 0

    def free_bytes(self) -> int:
        free, total = ctypes.c_size_t(), ctypes.c_size_t()
        self.call("cuMemGetInfo_v2", ctypes.byref(free), ctypes.byref(total))
        return free.value

    def compute_capability(self) -> tuple[int, int]:
        values = (ctypes.c_int(), ctypes.c_int())
        self.call("cuDeviceGetAttribute", ctypes.byref(values[0]), MAJOR, self.handle)
        self.call("cuDeviceGetAttribute", ctypes.byref(values[1]), MINOR, self.handle)
        return values[0].value, values[1].value

    def describe(self) -> dict[str, str]:
        """ "device", "compute_capability", "cuda" (the version that the driver offers), and "driver" if it says."""
        name, version = ctypes.create_string_buffer(256), ctypes.c_int()
        self.call("cuDeviceGetName", name, len(name), self.handle)
        self.call("cuDriverGetVersion", ctypes.byref(version))
        major, minor = self.compute_capability()
        facts = {
            "device": name.value.decode(),
            "compute_capability": f"{major}.{minor}",
            "cuda": f"{version.value // 1000}.{version.value % 1000 // 10}",
        }
        with contextlib.suppress(OSError, IndexError, StopIteration):  # Jetsons have no such file
            words = Path("/proc/driver/nvidia/version").read_text("utf-8").split("Kernel Module")[1].split()
            facts["driver"] = next(word for word in words if word[0].isdigit())
        return facts


@dataclass
class Buffer:
    """Memory of one tensor on the device and, page-locked, on the host. It grows and stays."""

    name: str
    dtype: np.dtype[Any]
    capacity: int = 0
    device: ctypes.c_void_p = field(default_factory=ctypes.c_void_p)
    host: ctypes.c_void_p = field(default_factory=ctypes.c_void_p)

    def holds(self, shape: Sequence[int]) -> bool:
        """Whether an array of this shape has room in the memory that is here."""
        return 0 < self.capacity >= self.count_bytes(shape)

    def reserve(self, device: Device, shape: Sequence[int]) -> None:
        """Other memory, for an array of this shape: nothing may point to that of before, which is freed first.

        Raises RuntimeError where there is not enough; the buffer has none then.
        """
        needed = ctypes.c_size_t(max(1, self.count_bytes(shape)))
        if self.capacity:
            self.capacity = 0
            device.call("cuMemFree_v2", self.device)
            device.call("cuMemFreeHost", self.host)
        device.call("cuMemAlloc_v2", ctypes.byref(self.device), needed)
        try:
            device.call("cuMemHostAlloc", ctypes.byref(self.host), needed, 0)
        except RuntimeError:
            device.call("cuMemFree_v2", self.device)
            raise
        self.capacity = needed.value

    def view(self, shape: Sequence[int]) -> Any:
        """The host's memory as an array."""
        memory: Any = (ctypes.c_byte * self.capacity).from_address(self.host.value or 0)
        return np.ndarray(tuple(shape), self.dtype, memory)

    def count_bytes(self, shape: Sequence[int]) -> int:
        return int(np.prod(shape, dtype=np.int64)) * self.dtype.itemsize


@dataclass
class Call:
    """How inputs of one shape are run, which holds as long as no buffer moves."""

    context: Any
    shapes: dict[str, tuple[int, ...]]
    """Of the inputs."""
    inputs: dict[str, Any]
    outputs: dict[str, Any]
    """Arrays in the host's page-locked memory, as are the inputs."""
    graph: ctypes.c_void_p | None = None
    """The recorded CUDA graph, once there is one."""


@dataclass
class Session:
    """An engine on the device. TensorRT's objects stay alive with it, in the order in which they need each other."""

    device: Device
    log: Any
    runtime: Any
    engine: Any
    free_bytes: int
    """Of the device's memory before the engine was loaded."""
    stream: ctypes.c_void_p
    is_graph: bool
    inputs: dict[str, Buffer]
    outputs: dict[str, Buffer]
    profiles: list[dict[str, list[tuple[int, ...]]]]
    """One an optimization profile: input -> least, usual and largest shape."""
    contexts: dict[int, Any] = field(default_factory=dict)
    calls: dict[Any, Call] = field(default_factory=dict)
    """By the shapes of the inputs."""
    bound: Call | None = None
    """The one that a context was told last."""
    graphs: int = 0


def load(model: str, options: Mapping[str, Any], threads: int) -> Session:
    """A session with the engine of `model`: a .plan, or an .onnx, of which the .plan beside it is built first.

    The options are those of `build`, and `graph`: record a CUDA graph for each shape. Threads of the host have no part
    in it. Raises RuntimeError where there is no GPU, or the plan belongs to another TensorRT, GPU or platform.
    """
    path = Path(model)
    plan = path.with_suffix(".plan")
    if path.suffix == ".onnx":
        build(model, str(plan), options)
    device = Device(int(options.get("device", 0)))
    free_bytes = device.free_bytes()
    stamp = read_stamp(plan)
    refuse_foreign_plan(plan, stamp, device)
    log = open_log()
    is_compatible = bool(stamp["options"].get(VERSION_COMPATIBLE, False))
    runtime, engine = load_engine(plan.read_bytes(), log, is_compatible, f"{plan.name} cannot be loaded")
    names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
    inputs = [name for name in names if engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT]
    return Session(
        device=device,
        log=log,
        runtime=runtime,
        engine=engine,
        free_bytes=free_bytes,
        stream=ctypes.c_void_p(device.open_stream()),
        is_graph=bool(options.get("graph", False)),
        inputs={name: open_buffer(engine, name) for name in inputs},
        outputs={name: open_buffer(engine, name) for name in names if name not in inputs},
        profiles=[read_ranges(engine, inputs, index) for index in range(max(1, engine.num_optimization_profiles))],
    )


def run(session: Session, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Every output by name, on the host, in the types of the engine's bindings (int32 for int64 in dialect 8).

    Raises RuntimeError for inputs that no profile takes, values that a binding cannot hold, and lack of GPU memory.
    """
    session.device.enter()
    arrays = {name: np.asarray(inputs[name]) for name in session.inputs if name in inputs}
    key = tuple(array.shape for array in arrays.values())
    call = session.calls.get(key)
    is_graph = session.is_graph and call is not None
    if call is None:
        call = session.calls[key] = prepare_call(session, {name: array.shape for name, array in arrays.items()})
    for name, place in call.inputs.items():
        refuse_values(name, arrays[name], place.dtype)
        place[...] = arrays[name]
    if is_graph and call.graph is None and session.graphs < MOST_GRAPHS:
        record_graph(session, call)
    if call.graph is not None:
        session.device.call("cuGraphLaunch", call.graph, session.stream)
    else:
        bind_call(session, call)
        enqueue(session, call)
    session.device.call("cuStreamSynchronize", session.stream)
    return {name: place.copy() for name, place in call.outputs.items()}


def describe(session: Session) -> dict[str, str]:
    """TensorRT's full version, the GPU's name as "device", and the versions of the driver and the CUDA it offers."""
    facts = session.device.describe()
    return {"tensorrt": find_version(), **{name: facts[name] for name in ("device", "driver", "cuda") if name in facts}}


def device_memory_mib(session: Session) -> float | None:
    """What the device's free memory has lost since before the engine was loaded: weights, activations, buffers, graphs.

    Another process that takes or frees memory meanwhile counts too.
    """
    session.device.enter()
    return max(0, session.free_bytes - session.device.free_bytes()) / 2**20


def build(model: str, plan: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Builds the engine of an ONNX file for this device; returns the facts that it writes to <stem>.json.

    <stem>.layers.json, beside it, is what TensorRT's inspector says of each layer. The plan appears last, whole or not
    at all.

    Options, none of which is needed: `device` (0) numbers the GPU; `precision` ("fp32") is what the graph holds;
    `profiles`, needed where inputs have open axes, are texts such as "ids=1x1/1x128/32x512 mask=1x1/1x128/32x512", the
    least, usual and largest shape; `level` is the builder's optimization level, 0 to 5; `workspace_mib` a limit;
    `tactics` names the tactic sources to leave on, and PACK_TENSORRT_TACTICS (commas between) overrules it;
    `timing_cache` is a file that is read where it fits, and written; `version_compatible` has other versions of
    TensorRT load the plan; `hardware_compatible` is "none", "ampere_plus" or "same_compute_capability".

    Raises RuntimeError, with TensorRT's first error, where it cannot parse or build the graph.
    """
    started = time.perf_counter()
    device = Device(int(options.get("device", 0)))
    precision = str(options.get("precision", "fp32"))
    refuse_precision(precision, device)
    log = open_log()
    try:
        builder = trt.Builder(log)
    except TypeError as error:  # pybind11's word for a null pointer
        raise RuntimeError(explain(log, f"TensorRT {find_version()} cannot use the GPU")) from error
    network = builder.create_network(network_flags())
    parse(network, model, log)
    config = builder.create_builder_config()
    configure(config, options, precision)
    add_profiles(builder, network, config, tuple(options.get("profiles", ())))
    cache = Path(str(options["timing_cache"])) if options.get("timing_cache") else None
    if cache is not None:
        read_timing_cache(config, cache, log)
    serialized = builder.build_serialized_network(network, config)
    if serialized is None:
        raise RuntimeError(explain(log, f"TensorRT {find_version()} cannot build this graph"))
    if cache is not None:
        write_whole(cache, bytes(config.get_timing_cache().serialize()))
    data = bytes(serialized)
    build_s = round(time.perf_counter() - started, 3)
    is_compatible = bool(options.get(VERSION_COMPATIBLE, False))
    _runtime, engine = load_engine(data, log, is_compatible, "the engine that was built cannot be loaded")
    return write_engine(Path(plan), data, engine, options, device, build_s, log)


def write_engine(
    plan: Path, data: bytes, engine: Any, options: Mapping[str, Any], device: Device, build_s: float, log: Any
) -> dict[str, Any]:
    """Writes the three files of an engine, the plan last; returns the facts."""
    names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
    is_input = {name: engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT for name in names}
    tensors = {
        name: {
            "name": name,
            "dtype": HOST_DTYPES.get(engine.get_tensor_dtype(name).name, engine.get_tensor_dtype(name).name.lower()),
            "dims": list(engine.get_tensor_shape(name)),
        }
        for name in names
    }
    facts: dict[str, Any] = {
        "tensorrt": find_version(),
        "dialect": find_dialect(),
        "driver": "",
        **device.describe(),
        "os": name_platform(),
        "profiles": list(options.get("profiles", ())),
        "options": {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in options.items()
            if name not in OF_THIS_MACHINE
        },
        "inputs": [tensors[name] for name in names if is_input[name]],
        "outputs": [tensors[name] for name in names if not is_input[name]],
        "layers": engine.num_layers,
        "warnings": list(dict.fromkeys(log.warnings))[:KEPT_WARNINGS],
        "build_s": build_s,
    }
    layers = inspect_engine(engine, [name for name in names if is_input[name]])
    if plan.exists():
        plan.unlink()
    write_whole(plan.with_suffix(".layers.json"), layers.encode())
    write_whole(plan.with_suffix(".json"), json.dumps(facts, indent=1).encode())
    write_whole(plan, data)
    return facts


def inspect_engine(engine: Any, inputs: Sequence[str]) -> str:
    """What TensorRT's inspector says of the layers, as JSON, in the first profile's usual shapes.

    Without shapes, it tells no types of tensors where axes are open: that is all where memory takes no context.
    """
    inspector = engine.create_engine_inspector()
    context = engine.create_execution_context()
    if context is not None:
        for name, (_, usual, _) in read_ranges(engine, inputs, 0).items():
            context.set_input_shape(name, usual)
        inspector.execution_context = context
    return str(inspector.get_engine_information(trt.LayerInformationFormat.JSON))


def find_dialect() -> int:
    """8, 10 or 11: the oldest TensorRT that has what this one has."""
    if not hasattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED"):
        return 8
    return 10 if hasattr(trt.BuilderFlag, "FP16") else 11


def find_version() -> str:
    """TensorRT's version with its build number, as far as it tells: "10.16.1.11"."""
    version = str(trt.__version__)
    parts = ("Major", "Minor", "Patch", "Build")
    try:
        library = ctypes.CDLL("libnvinfer.so." + version.split(".")[0])  # is loaded already
        return ".".join(str(getattr(library, f"getInferLib{part}Version")()) for part in parts)
    except (OSError, AttributeError):  # before 10, it does not tell its build
        return version


def name_platform() -> str:
    return f"{platform.system()} {platform.machine()}"


def open_log() -> Any:
    """A logger that keeps errors and warnings, for messages of failures and for the facts."""

    class Log(trt.ILogger):  # type: ignore[misc, unused-ignore]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.errors: list[str] = []
            self.warnings: list[str] = []

        def log(self, severity: Any, text: str) -> None:
            kept = self.errors if severity in (trt.ILogger.ERROR, trt.ILogger.INTERNAL_ERROR) else self.warnings
            if severity not in (trt.ILogger.INFO, trt.ILogger.VERBOSE) and len(kept) < MOST_MESSAGES:
                kept.append(text)

        def first_error(self) -> str:
            """The first error in one line, else the last warning."""
            lines = (first_line(text) for text in (*self.errors, *reversed(self.warnings)))
            return next((line for line in lines if line), "it gives no reason")

    return Log()


def explain(log: Any, what: str) -> str:
    """`what` went wrong and TensorRT's first error; lack of GPU memory is called that, as it is no fault of a graph."""
    said = " ".join(log.errors).lower().replace(" ", "")
    is_full = "outofmemory" in said or "couldnotbeallocated" in said
    return f"{'out of GPU memory: ' if is_full else ''}{what}: {log.first_error()}"


def first_line(text: str) -> str:
    return next((line.strip() for line in text.splitlines() if line.strip()), "")


def refuse_precision(precision: str, device: Device) -> None:
    """Raises RuntimeError for a precision that this TensorRT or the GPU lacks."""
    known = ("fp32", "tf32", "fp16", "bf16", "int8", "fp8")
    if precision not in known:
        raise RuntimeError(f"precision {precision!r} is not one of {', '.join(known)}")
    if precision in ("bf16", "fp8") and find_dialect() < 10:
        raise RuntimeError(
            f"TensorRT {find_version()} has no {precision} networks: use TensorRT 10 or later, or another precision"
        )
    needed, have = NEEDED_CAPABILITY.get(precision, (0, 0)), device.compute_capability()
    if have < needed:
        raise RuntimeError(
            f"{device.describe()['device']} (compute capability {have[0]}.{have[1]}) has no {precision}, which needs "
            f"{needed[0]}.{needed[1]}: use another precision, such as fp16"
        )


def network_flags() -> int:
    """Bits of create_network: explicit batches where they have to be asked for, strong types where they can be."""
    flags = 0
    names = ("EXPLICIT_BATCH",) if find_dialect() < 10 else ("STRONGLY_TYPED",)
    for name in names:
        flags |= 1 << int(getattr(trt.NetworkDefinitionCreationFlag, name))
    return flags


def parse(network: Any, model: str, log: Any) -> None:
    """Reads the ONNX file into the network. Raises RuntimeError that names operator and node as far as known."""
    parser = trt.OnnxParser(network, log)
    if parser.parse_from_file(model):
        return
    if not parser.num_errors:
        raise RuntimeError(explain(log, f"TensorRT {find_version()} cannot parse {Path(model).name}"))
    error = parser.get_error(0)
    if hasattr(error, "node_operator"):
        operator, node = error.node_operator(), error.node_name()
    else:  # dialect 8 prints the node instead
        said = "\n".join(log.errors)
        operator = find_quoted("op_type", said)
        node = find_quoted("name", said.split("--- Begin node ---")[-1].split("attribute {")[0])
    where = f"{operator or Path(model).name}{f' (node {node})' if node else ''}"
    raise RuntimeError(f"TensorRT {find_version()} cannot parse {where}: {first_line(error.desc())}")


def find_quoted(field_name: str, text: str) -> str:
    """The first value of a field in a protobuf's text; empty where there is none."""
    found = re.search(rf'^\s*{field_name}: "([^"]*)"', text, re.MULTILINE)
    return found.group(1) if found else ""


def configure(config: Any, options: Mapping[str, Any], precision: str) -> None:
    """Sets what the options say. Raises RuntimeError for an opt-in that this TensorRT lacks."""
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    if precision != "tf32":
        config.clear_flag(trt.BuilderFlag.TF32)  # on by default
    if find_dialect() < 10:
        for name in WEAK_FLAGS.get(precision, ()):
            config.set_flag(getattr(trt.BuilderFlag, name))
    if options.get(VERSION_COMPATIBLE, False):
        config.set_flag(find_member(trt.BuilderFlag, "VERSION_COMPATIBLE"))
    level = str(options.get("hardware_compatible", "none")).upper()
    if level != "NONE":
        config.hardware_compatibility_level = find_member(trt.HardwareCompatibilityLevel, level)
    if options.get("level") is not None and hasattr(config, "builder_optimization_level"):
        config.builder_optimization_level = int(options["level"])
    if options.get("workspace_mib"):
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, int(options["workspace_mib"]) << 20)
    override = os.environ.get("PACK_TENSORRT_TACTICS")
    tactics = override.split(",") if override else options.get("tactics", ())
    if tactics:
        sources = {int(find_member(trt.TacticSource, name.strip())) for name in tactics}
        config.set_tactic_sources(sum(1 << source for source in sources))


def find_member(enumeration: Any, name: str) -> Any:
    """A member that not every TensorRT has. Raises RuntimeError, with those there are, where this one lacks it."""
    if name not in enumeration.__members__:
        what = f"TensorRT {find_version()} has no {enumeration.__name__}.{name}"
        raise RuntimeError(f"{what}: leave that option out; there are {', '.join(enumeration.__members__)}")
    return enumeration.__members__[name]


def add_profiles(builder: Any, network: Any, config: Any, profiles: Sequence[str]) -> None:
    """Adds the optimization profiles. Raises RuntimeError where they do not fit the network's inputs."""
    inputs = [network.get_input(index) for index in range(network.num_inputs)]
    shapes = {tensor.name: tuple(tensor.shape) for tensor in inputs}
    by_value = [tensor.name for tensor in inputs if tensor.is_shape_tensor]
    if by_value:
        raise RuntimeError(f"the values of {', '.join(by_value)} decide shapes, which pack's engines do not support")
    open_axes = [f"{name} {list(shape)}" for name, shape in shapes.items() if -1 in shape]
    if open_axes and not profiles:
        raise RuntimeError(f"no optimization profile is given, and inputs have open axes: {', '.join(open_axes)}")
    for text in profiles:
        profile = builder.create_optimization_profile()
        for name, ranges in read_profile(text, shapes).items():
            if -1 in shapes[name]:
                profile.set_shape(name, *ranges)
        if open_axes and config.add_optimization_profile(profile) < 0:
            raise RuntimeError(f"TensorRT refuses the optimization profile {text!r}")


def read_profile(text: str, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, list[tuple[int, ...]]]:
    """ "ids=1x1/1x128/32x512" -> {"ids": [(1, 1), (1, 128), (32, 512)]}; one shape stands for all three.

    `shapes` are the network's, -1 for open axes. Raises RuntimeError where the profile does not fit them.
    """
    profile = {}
    for word in text.split():
        name, _, ranges = word.rpartition("=")
        steps = [tuple(int(size) for size in shape.split("x")) for shape in ranges.split("/")]
        steps = steps * 3 if len(steps) == 1 else steps
        if name not in shapes:
            raise RuntimeError(f"profile {text!r} names {name!r}; the graph's inputs are {', '.join(shapes)}")
        if len(steps) != 3 or not all(fits(shape, shapes[name]) for shape in steps):
            raise RuntimeError(f"profile {text!r} does not fit the input {name} {list(shapes[name])}")
        if any(least > usual or usual > most for least, usual, most in zip(*steps)):  # noqa: B905 - Python 3.8
            raise RuntimeError(f"profile {text!r}: the shapes of {name} are not in order: least, usual, largest")
        profile[name] = steps
    missing = [f"{name} {list(shape)}" for name, shape in shapes.items() if -1 in shape and name not in profile]
    if missing:
        raise RuntimeError(f"profile {text!r} says nothing about inputs with open axes: {', '.join(missing)}")
    return profile


def fits(shape: tuple[int, ...], declared: tuple[int, ...]) -> bool:
    """Whether the shape is one of an input that is declared so, -1 for open axes."""
    return len(shape) == len(declared) and all(d in (-1, s) for s, d in zip(shape, declared))  # noqa: B905 - Python 3.8


def read_timing_cache(config: Any, path: Path, log: Any) -> None:
    """Has the builder look up and note timings of kernels; a file of another device or TensorRT is not used."""
    data = path.read_bytes() if path.exists() else b""
    cache = config.create_timing_cache(data)
    if cache is None or not config.set_timing_cache(cache, False):
        config.set_timing_cache(config.create_timing_cache(b""), False)
    log.errors.clear()  # a refused cache is no failure


def read_stamp(plan: Path) -> dict[str, Any]:
    """The facts that `build` wrote beside the plan. Raises RuntimeError where they are missing or lack one."""
    path = plan.with_suffix(".json")
    if not path.exists():
        raise RuntimeError(f"{plan.name} has no {path.name} beside it, which says where it loads: build it again")
    stamp = json.loads(path.read_text("utf-8"))
    missing = [name for name in (*ORIGIN, "options") if name not in stamp]
    if missing:
        raise RuntimeError(f"{path.name} does not say {', '.join(missing)}, so nobody knows where {plan.name} loads")
    return dict(stamp)


def refuse_foreign_plan(plan: Path, stamp: Mapping[str, Any], device: Device) -> None:
    """Raises RuntimeError for a plan of another TensorRT, GPU or platform, by its stamp, unless built to bear that."""
    options = stamp["options"]
    here = {**device.describe(), "tensorrt": find_version(), "os": name_platform()}
    kept = set(ORIGIN)
    if options.get(VERSION_COMPATIBLE, False):
        kept -= {"tensorrt"}
    if str(options.get("hardware_compatible", "none")) != "none":
        kept -= {"device", "compute_capability"}  # TensorRT itself checks how far that goes
    if any(stamp[name] != here[name] for name in kept):
        said = "TensorRT {tensorrt}, {device} (compute capability {compute_capability}), {os}"
        raise RuntimeError(
            f"{plan.name} was made by {said.format(**stamp)}; here is {said.format(**here)}: build it again here, "
            "from its .onnx"
        )


def load_engine(data: bytes, log: Any, is_compatible: bool, what: str) -> tuple[Any, Any]:
    """TensorRT's runtime and the engine of a plan. Raises RuntimeError beginning with `what`."""
    runtime = trt.Runtime(log)
    if is_compatible:
        runtime.engine_host_code_allowed = True  # such a plan brings a runtime of its own
    engine = runtime.deserialize_cuda_engine(data)
    if engine is None:
        raise RuntimeError(explain(log, f"{what} by TensorRT {find_version()}"))
    return runtime, engine


def open_buffer(engine: Any, name: str) -> Buffer:
    """A buffer for an input or output, without memory yet."""
    dtype = engine.get_tensor_dtype(name).name
    if dtype not in HOST_DTYPES:
        raise RuntimeError(f"{name} is {dtype} at the engine's border, which numpy lacks: end the graph in fp32 there")
    return Buffer(name, np.dtype(HOST_DTYPES[dtype]))


def read_ranges(engine: Any, inputs: Sequence[str], index: int) -> dict[str, list[tuple[int, ...]]]:
    """The least, usual and largest shape of each input in an optimization profile."""
    ranges = {}
    for name in inputs:
        shape = tuple(engine.get_tensor_shape(name))
        steps = engine.get_tensor_profile_shape(name, index) if -1 in shape else (shape,) * 3
        ranges[name] = [tuple(step) for step in steps]
    return ranges


def choose_profile(session: Session, shapes: Mapping[str, tuple[int, ...]]) -> int:
    """Of the profiles that take all inputs, the one whose usual shapes are nearest, as kernels were chosen for those.

    Raises RuntimeError naming an input that is refused, and the ranges.
    """
    missing = [name for name in session.inputs if name not in shapes]
    if missing:
        raise RuntimeError(f"inputs are missing: {', '.join(missing)}")
    taking = [
        (sum(measure_distance(shape, ranges[name][1]) for name, shape in shapes.items()), index)
        for index, ranges in enumerate(session.profiles)
        if all(is_within(shape, ranges[name]) for name, shape in shapes.items())
    ]
    if taking:
        return min(taking)[1]
    # one that no profile takes; else, as each has its profile but they have none in common, what the first one refuses
    alone = [n for n, shape in shapes.items() if not any(is_within(shape, ranges[n]) for ranges in session.profiles)]
    name = (alone or [n for n, shape in shapes.items() if not is_within(shape, session.profiles[0][n])])[0]
    known = ", ".join(f"{list(ranges[name][0])} to {list(ranges[name][2])}" for ranges in session.profiles)
    raise RuntimeError(f"{name} has shape {list(shapes[name])}, and the engine's profiles take {known}")


def is_within(shape: tuple[int, ...], steps: Sequence[tuple[int, ...]]) -> bool:
    """Whether a profile with these least, usual and largest shapes takes the shape."""
    sizes = zip(steps[0], shape, steps[2])  # noqa: B905 - Python 3.8
    return len(shape) == len(steps[0]) and all(low <= size <= high for low, size, high in sizes)


def measure_distance(shape: tuple[int, ...], usual: tuple[int, ...]) -> float:
    """How far apart two shapes are, by the ratios of their axes."""
    pairs = zip(shape, usual)  # noqa: B905 - Python 3.8
    return sum(abs(math.log(max(1, size) / max(1, other))) for size, other in pairs)


def refuse_values(name: str, array: Any, dtype: np.dtype[Any]) -> None:
    """Raises RuntimeError for an array of another kind than the binding, or with values that this cannot hold."""
    if array.dtype == dtype or np.can_cast(array.dtype, dtype):
        return
    kinds = {array.dtype.kind.replace("u", "i"), dtype.kind.replace("u", "i")}
    if kinds != {"i"} and kinds != {"f"}:
        raise RuntimeError(f"{name} is {array.dtype}, and the engine takes {dtype}")
    limits: Any = np.iinfo(dtype) if kinds == {"i"} else np.finfo(dtype)
    values = array if kinds == {"i"} else array[np.isfinite(array)]
    if values.size and (values.min() < limits.min or values.max() > limits.max):
        raise RuntimeError(f"{name} has values that the engine's {dtype} cannot hold")


def open_context(session: Session, index: int) -> Any:
    """The execution context of a profile. Raises RuntimeError where the GPU's memory does not take it."""
    if index not in session.contexts:
        context = session.engine.create_execution_context()
        if context is None or not context.set_optimization_profile_async(index, session.stream.value):
            raise RuntimeError(explain(session.log, f"TensorRT cannot open profile {index}"))
        session.device.call("cuStreamSynchronize", session.stream)
        session.contexts[index] = context
    return session.contexts[index]


def prepare_call(session: Session, shapes: dict[str, tuple[int, ...]]) -> Call:
    """Finds a profile for inputs of these shapes, and memory for them and the outputs.

    Where memory moves, all calls are forgotten before, as recorded graphs and arrays are of the old one: a lack of
    memory leaves nothing that points to what was freed.
    """
    context = open_context(session, choose_profile(session, shapes))
    session.bound = None
    set_shapes(session, context, shapes)
    outputs = {name: tuple(context.get_tensor_shape(name)) for name in session.outputs}
    unknown = [name for name, shape in outputs.items() if any(size < 0 for size in shape)]
    if unknown:
        raise RuntimeError(f"the shape of {', '.join(unknown)} depends on values, which pack's engines do not support")
    buffers = {**session.inputs, **session.outputs}
    small = {name: shape for name, shape in {**shapes, **outputs}.items() if not buffers[name].holds(shape)}
    if small:
        forget_calls(session)
    for name, shape in small.items():
        buffers[name].reserve(session.device, shape)
    if len(session.calls) >= MOST_SHAPES:
        session.calls = {key: call for key, call in session.calls.items() if call.graph is not None}
    return Call(
        context,
        shapes,
        {name: buffers[name].view(shape) for name, shape in shapes.items()},
        {name: buffers[name].view(shape) for name, shape in outputs.items()},
    )


def forget_calls(session: Session) -> None:
    """Gives up all that points to the memory of buffers."""
    calls, session.calls, session.graphs, session.bound = session.calls, {}, 0, None
    for call in calls.values():
        if call.graph is not None:
            session.device.call("cuGraphExecDestroy", call.graph)


def set_shapes(session: Session, context: Any, shapes: Mapping[str, tuple[int, ...]]) -> None:
    for name, shape in shapes.items():
        if not context.set_input_shape(name, shape):
            raise RuntimeError(explain(session.log, f"TensorRT refuses the shape {list(shape)} of {name}"))


def bind_call(session: Session, call: Call) -> None:
    """Tells the context shapes and addresses, unless they are what it was told last."""
    if session.bound is call:
        return
    session.bound = None
    set_shapes(session, call.context, call.shapes)
    for buffer in (*session.inputs.values(), *session.outputs.values()):
        call.context.set_tensor_address(buffer.name, buffer.device.value)
    session.bound = call


def enqueue(session: Session, call: Call) -> None:
    """Puts a call on the stream: inputs to the device, kernels, outputs to the host."""
    device, stream = session.device, session.stream
    for name, place in call.inputs.items():
        buffer = session.inputs[name]
        device.call("cuMemcpyHtoDAsync_v2", buffer.device, buffer.host, ctypes.c_size_t(place.nbytes), stream)
    execute(session, call)
    for name, place in call.outputs.items():
        buffer = session.outputs[name]
        device.call("cuMemcpyDtoHAsync_v2", buffer.host, buffer.device, ctypes.c_size_t(place.nbytes), stream)


def execute(session: Session, call: Call) -> None:
    """Puts the kernels alone on the stream."""
    if not call.context.execute_async_v3(session.stream.value):
        raise RuntimeError(explain(session.log, "TensorRT cannot run the engine"))


def record_graph(session: Session, call: Call) -> None:
    """Records the call. Raises RuntimeError with the reason where something cannot be recorded.

    Where the context ran another shape last, one call goes first: TensorRT prepares in it what cannot be recorded.
    """
    if session.bound is not call:
        bind_call(session, call)
        enqueue(session, call)
        session.device.call("cuStreamSynchronize", session.stream)
    call.graph = capture(session, lambda: enqueue(session, call))
    session.graphs += 1


def capture(session: Session, work: Callable[[], None]) -> ctypes.c_void_p:
    """A CUDA graph of what `work` puts on the stream, ready to be launched."""
    device, stream = session.device, session.stream
    graph, executable = ctypes.c_void_p(), ctypes.c_void_p()
    device.call("cuStreamBeginCapture_v2", stream, CAPTURE_THIS_THREAD)
    try:
        work()
        device.call("cuStreamEndCapture", stream, ctypes.byref(graph))
        device.call("cuGraphInstantiateWithFlags", ctypes.byref(executable), graph, ctypes.c_ulonglong(0))
    except RuntimeError as error:
        device.cuda.cuStreamEndCapture(stream, ctypes.byref(graph))  # a broken capture has to be ended, too
        raise RuntimeError(f"capture failed: {first_line(str(error))}") from error
    device.call("cuGraphDestroy", graph)
    return executable


def write_whole(path: Path, data: bytes) -> None:
    """Writes a temporary file, then renames it: readers see all of it or nothing."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    part.write_bytes(data)
    part.replace(path)


def main(arguments: Sequence[str]) -> int:
    """`MODEL.onnx PLAN OPTIONS.json`: builds the plan. 1 and a failure as the last line of stderr on an error."""
    if len(arguments) != 3:
        sys.stderr.write("usage: tensorrt_engine.py MODEL.onnx PLAN OPTIONS.json\n")
        return 2
    model, plan, options = arguments
    try:
        facts = build(model, plan, json.loads(Path(options).read_text("utf-8")))
    except Exception as error:
        sys.stderr.write(f"{type(error).__name__}: {' '.join(str(error).split())}\n")
        return 1
    sys.stderr.write(f"{plan}: built in {facts['build_s']:.0f} s by TensorRT {facts['tensorrt']}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
