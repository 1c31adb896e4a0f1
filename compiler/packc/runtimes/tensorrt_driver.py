"""The CUDA driver (libcuda) through ctypes: a GPU, memory on it and on the host, and recorded graphs.

Copied into bundles beside engine.py, so it imports nothing of packc: Python 3.8 and numpy. The driver has one name on
every system, and needs no CUDA toolkit of any version beside TensorRT's own.
"""

from __future__ import annotations

import contextlib
import ctypes
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

LIBRARY = "libcuda.so.1"
OUT_OF_MEMORY = 2
MAJOR, MINOR = 75, 76
CAPTURE_THIS_THREAD = 1
"""Of cuda.h: CUDA_ERROR_OUT_OF_MEMORY, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR and _MINOR,
CU_STREAM_CAPTURE_MODE_THREAD_LOCAL."""


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


def capture(device: Device, stream: ctypes.c_void_p, work: Callable[[], None]) -> ctypes.c_void_p:
    """A CUDA graph of what `work` puts on the stream, ready to be launched. Raises RuntimeError with the reason."""
    graph, executable = ctypes.c_void_p(), ctypes.c_void_p()
    device.call("cuStreamBeginCapture_v2", stream, CAPTURE_THIS_THREAD)
    try:
        try:
            work()
        except BaseException:
            device.cuda.cuStreamEndCapture(stream, ctypes.byref(graph))  # has to be, whatever it says
            raise
        device.call("cuStreamEndCapture", stream, ctypes.byref(graph))
        device.call("cuGraphInstantiateWithFlags", ctypes.byref(executable), graph, ctypes.c_ulonglong(0))
    except RuntimeError as error:
        raise RuntimeError(f"capture failed: {error}") from error
    finally:
        if graph:
            device.cuda.cuGraphDestroy(graph)
    return executable
