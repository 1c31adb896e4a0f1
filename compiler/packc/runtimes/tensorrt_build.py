"""Builds TensorRT engines from ONNX graphs.

Copied into bundles beside engine.py, so it imports nothing of packc: Python 3.8, numpy and tensorrt. One
builder for three dialects of TensorRT, told apart by what the module has: 8 is weakly typed (builder flags allow
precisions), 10 has strongly typed networks and is asked for them (the graph says each precision), 11 has no others.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import tensorrt as trt  # noqa: TID253 - this file runs where tensorrt is, and only there
from tensorrt_driver import Device  # type: ignore[import-not-found]
from tensorrt_plan import (  # type: ignore[import-not-found]
    HOST_DTYPES,
    VERSION_COMPATIBLE,
    explain,
    find_dialect,
    find_member,
    find_version,
    first_line,
    load_engine,
    name_platform,
    open_log,
    write_whole,
)
from tensorrt_profiles import add_profiles, read_ranges  # type: ignore[import-not-found]

KEPT_WARNINGS = 10
PR_SET_PDEATHSIG = 1

NEEDED_CAPABILITY = {"tf32": (8, 0), "bf16": (8, 0), "fp8": (8, 9)}
"""From which compute capability on tensor cores have a precision (NVIDIA's support matrix): Ampere, Ada."""

WEAK_FLAGS = {"fp16": ("FP16",), "int8": ("INT8", "FP16")}
"""Builder flags of dialect 8. Beside int8, what has no Q/DQ may be computed in fp16, as it would be in fp32 else."""

OF_THIS_MACHINE = ("device", "timing_cache")
"""Options of `build` that say where it runs, not what is built: facts, which are published, leave them out."""


def build(model: str, plan: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Builds the engine of an ONNX file for this device; returns the facts that it writes to <stem>.json.

    <stem>.layers.json, beside it, is what TensorRT's inspector says of each layer. The plan appears last, whole or not
    at all.

    Options, none of which is needed: `device` (0) numbers the GPU; `precision` ("fp32") is what the graph holds;
    `profiles`, needed where inputs have open axes, are texts such as "ids=1x1/1x128/32x512 mask=1x1/1x128/32x512", the
    least, usual and largest shape; `level` is the builder's optimization level, 0 to 5; `workspace_mib` a limit;
    `tactics` names the tactic sources to leave on, and PACK_TENSORRT_TACTICS (commas between) overrules it;
    `timing_cache` is a file that is read where it fits, and written where it can be; `version_compatible` has other
    versions of TensorRT load the plan; `hardware_compatible` is "none", "ampere_plus" or "same_compute_capability".

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
    data = bytes(serialized)
    build_s = round(time.perf_counter() - started, 3)
    is_compatible = bool(options.get(VERSION_COMPATIBLE, False))
    _runtime, engine = load_engine(data, log, is_compatible, "the engine that was built cannot be loaded")
    facts = write_engine(Path(plan), data, engine, options, device, build_s, log)
    if cache is not None:
        with contextlib.suppress(OSError):  # only a help for the next build: its folder may be gone, or the disk full
            write_whole(cache, bytes(config.get_timing_cache().serialize()))
    return facts


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
    write_whole(plan.with_suffix(".layers.json"), json.dumps(layers, indent=1).encode())
    write_whole(plan.with_suffix(".json"), json.dumps(facts, indent=1).encode())
    write_whole(plan, data)
    return facts


def build_apart(program: str, model: str, plan: str, options: Mapping[str, Any]) -> None:
    """`build`, in a process that runs `program` with the arguments of the adapter's command line; it ends with ours.

    So the builder's libraries and kernels leave the device before the engine is loaded, and what is measured then is
    the engine's alone. The builder's memory on the host is not that of this process either: the runner neither tells
    nor limits it. Raises RuntimeError with the failure that the program tells, as its last line, or with the signal or
    status that ended it.
    """
    with tempfile.TemporaryDirectory(prefix="pack-tensorrt-") as folder:
        file = Path(folder, "options.json")
        file.write_text(json.dumps(dict(options)), "utf-8")
        command = [sys.executable, program, model, plan, str(file)]
        ended = subprocess.run(
            command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, preexec_fn=bind_to_this_process(), check=False
        )
    said = ended.stderr.decode("utf-8", "replace")
    sys.stderr.write(said)
    if ended.returncode:
        raise RuntimeError(describe_end(ended.returncode, said))


def bind_to_this_process() -> Callable[[], None] | None:
    """What a child does first, so that the kernel (Linux) kills it when this process dies; None on other systems."""
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None).prctl  # looked up here: a child of a process with threads may not be able to
    return lambda: prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def describe_end(status: int, said: str) -> str:
    """Why a builder failed. What it printed is a reason only where it came to tell one, which is status 1."""
    if status < 0:
        name = {int(member): member.name for member in signal.Signals}.get(-status, f"signal {-status}")
        return f"the builder was killed by {name}" + (", likely out of memory" if name == "SIGKILL" else "")
    lines = said.strip().splitlines() if status == 1 else []
    last = lines[-1] if lines else f"the builder ended with status {status}"
    return last.partition("RuntimeError: ")[2] or last


def inspect_engine(engine: Any, inputs: Sequence[str]) -> dict[str, Any]:
    """What TensorRT's inspector says of the layers, in the first profile's usual shapes.

    Without shapes, it tells no types of tensors where axes are open: that is all where memory takes no context. Its
    text may hold bare control characters, as 8.6 writes the names of convolutions; what is no JSON even so is kept as
    it came, under "Unread", and "Problem" says where it is none.
    """
    inspector = engine.create_engine_inspector()
    context = engine.create_execution_context()
    if context is not None:
        for name, (_, usual, _) in read_ranges(engine, inputs, 0).items():
            context.set_input_shape(name, usual)
        inspector.execution_context = context
    said = str(inspector.get_engine_information(trt.LayerInformationFormat.JSON))
    try:
        layers: dict[str, Any] = json.loads(said, strict=False)
    except json.JSONDecodeError as error:
        around = said[max(0, error.pos - 40) : error.pos + 20]
        return {"Unread": said, "Problem": f"{error.msg} in {around!r}"}
    return layers


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
    """Bits of create_network: strong types where there are any, and explicit batches, which 8 and 9 do not have unasked
    (10 ignores that flag, 11 has none)."""
    known = trt.NetworkDefinitionCreationFlag.__members__
    return sum(1 << int(known[name]) for name in ("EXPLICIT_BATCH", "STRONGLY_TYPED") if name in known)


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


def read_timing_cache(config: Any, path: Path, log: Any) -> None:
    """Has the builder look up and note timings of kernels; one of another device or TensorRT is not used."""
    data = b""
    with contextlib.suppress(OSError):
        data = path.read_bytes()
    cache = config.create_timing_cache(data)
    if cache is None or not config.set_timing_cache(cache, False):
        config.set_timing_cache(config.create_timing_cache(b""), False)
    log.errors.clear()  # a refused cache is no failure
