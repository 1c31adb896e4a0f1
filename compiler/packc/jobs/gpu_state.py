"""Reads how an NVIDIA GPU runs at this moment: clocks, power, temperature, and what holds it back. Sets nothing.

Copied into every bundle beside run.py, so it imports nothing of packc and needs no package: libcuda tells which GPU it
is, NVML (the library behind nvidia-smi; NVML API reference, "Device Queries") its state. Where NVML is not there, or
does not answer, nothing is said.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

CUDA, NVML = "libcuda.so.1", "libnvidia-ml.so.1"
CLOCK_SM, CLOCK_MEMORY, TEMPERATURE_GPU = 1, 2, 0
"""nvmlClockType_t and nvmlTemperatureSensors_t (nvml.h)."""

LIMITS = {
    0x04: "power cap",
    0x08: "hardware slowdown",
    0x20: "temperature",
    0x40: "temperature",
    0x80: "power brake",
}
"""nvmlClocksEventReason... -> what slows the GPU down. Those that are left out slow nothing down that its owner did not
set: an idle GPU, application clocks, clocks kept equal to those of others."""


@dataclass(frozen=True)
class Watched:
    """An open NVML and its handle of one GPU."""

    nvml: Any
    handle: Any


def open_gpu(device: int, load: Callable[[str], Any] = ctypes.CDLL) -> Watched | None:
    """The GPU that CUDA numbers `device` in this process; None where its driver or NVML does not know it."""
    try:
        cuda, nvml = load(CUDA), load(NVML)
        number, bus, handle = ctypes.c_int(), ctypes.create_string_buffer(32), ctypes.c_void_p()
        if cuda.cuInit(0) or cuda.cuDeviceGet(ctypes.byref(number), device):
            return None
        if cuda.cuDeviceGetPCIBusId(bus, len(bus), number):
            return None
        if nvml.nvmlInit_v2() or nvml.nvmlDeviceGetHandleByPciBusId_v2(bus, ctypes.byref(handle)):
            return None
    except (OSError, AttributeError):  # no such library, or one without these functions
        return None
    return Watched(nvml, handle)


def read_state(gpu: Watched) -> dict[str, Any]:
    """The fields of packc.jobs.job.GpuState; None for what this GPU does not tell."""
    sm = _read(gpu, "nvmlDeviceGetClockInfo", CLOCK_SM)
    power = _read(gpu, "nvmlDeviceGetPowerUsage")
    reasons = _read(gpu, "nvmlDeviceGetCurrentClocksEventReasons", size=ctypes.c_ulonglong)
    if reasons is None:  # what drivers before 535 call it
        reasons = _read(gpu, "nvmlDeviceGetCurrentClocksThrottleReasons", size=ctypes.c_ulonglong)
    return {
        "sm_mhz": sm,
        "memory_mhz": _read(gpu, "nvmlDeviceGetClockInfo", CLOCK_MEMORY),
        "power_w": None if power is None else power / 1e3,
        "temperature_c": _read(gpu, "nvmlDeviceGetTemperature", TEMPERATURE_GPU),
        "limits": None if reasons is None else sorted({word for bit, word in LIMITS.items() if reasons & bit}),
    }


def _read(gpu: Watched, function: str, *arguments: int, size: Any = ctypes.c_uint) -> int | None:
    """The one number that an NVML function gives; None where this NVML, or this GPU, does not have it."""
    value = size()
    try:
        failed = getattr(gpu.nvml, function)(gpu.handle, *arguments, ctypes.byref(value))
    except AttributeError:
        return None
    return None if failed else int(value.value)
