"""The TensorRT that is here, and what a plan belongs to: its stamp, where it loads, what TensorRT says of failures.

Copied into bundles beside engine.py, so it imports nothing of packc: Python 3.8, numpy and tensorrt.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorrt as trt  # noqa: TID253 - this file runs where tensorrt is, and only there
from tensorrt_driver import Buffer, Device  # type: ignore[import-not-found]

MOST_MESSAGES = 50

HOST_DTYPES = {
    "FLOAT": "float32", "HALF": "float16", "INT8": "int8", "INT32": "int32", "INT64": "int64", "BOOL": "bool",
    "UINT8": "uint8",
}  # fmt: skip
"""Names of tensorrt.DataType -> those of numpy; numpy has no others of TensorRT's."""

VERSION_COMPATIBLE = "version_compatible"
"""The option whose builder flag not every TensorRT has, and whose plans bring code."""

ORIGIN = ("tensorrt", "device", "compute_capability", "os")
"""The facts of a plan that decide where it loads."""


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


def find_member(enumeration: Any, name: str) -> Any:
    """A member that not every TensorRT has. Raises RuntimeError, with those there are, where this one lacks it."""
    if name not in enumeration.__members__:
        what = f"TensorRT {find_version()} has no {enumeration.__name__}.{name}"
        raise RuntimeError(f"{what}: leave that option out; there are {', '.join(enumeration.__members__)}")
    return enumeration.__members__[name]


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

        def clear(self) -> None:
            """Before what has a failure of its own: what was said before is no reason for it."""
            self.errors.clear()
            self.warnings.clear()

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
    log.errors.clear()  # what a builder got over is no reason
    runtime = trt.Runtime(log)
    if is_compatible:
        runtime.engine_host_code_allowed = True  # such a plan brings a runtime of its own
    engine = runtime.deserialize_cuda_engine(data)
    if engine is None:
        raise RuntimeError(explain(log, f"{what} by TensorRT {find_version()}"))
    return runtime, engine


def open_buffer(engine: Any, name: str) -> Buffer:
    """A buffer for an input or output, without memory yet. Raises RuntimeError for a type that numpy lacks."""
    dtype = engine.get_tensor_dtype(name).name
    if dtype not in HOST_DTYPES:
        raise RuntimeError(f"{name} is {dtype} at the engine's border, which numpy lacks: end the graph in fp32 there")
    return Buffer(name, np.dtype(HOST_DTYPES[dtype]))


def write_whole(path: Path, data: bytes) -> None:
    """Writes a temporary file, then renames it: readers see all of it or nothing. Raises OSError; nothing is left."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        part.write_bytes(data)
        part.replace(path)
    finally:
        with contextlib.suppress(OSError):
            part.unlink()
