"""Probes the NVIDIA GPU of this machine through its driver, without any package: the target `host-gpu`.

libcuda (CUDA Driver API reference, "Device Management") tells what the GPU is; nvidia-smi, where it is installed, which
driver runs it and who else uses it; the kernel the driver too. Nothing is allocated on the GPU.
"""

from __future__ import annotations

import ctypes
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from packc.target import Target, derive_gpu_native

HOST_GPU = "host-gpu"
LIBRARY = "libcuda.so.1"
SMI_LIMIT_S = 20.0
DRIVER_FILE = Path("/proc/driver/nvidia/version")
"""Where the kernel's module says which version it is; Jetsons have no such file."""

MULTIPROCESSORS, INTEGRATED, L2_CACHE_SIZE, MAJOR, MINOR = 16, 18, 38, 75, 76
"""CUdevice_attribute: MULTIPROCESSOR_COUNT, INTEGRATED, L2_CACHE_SIZE, COMPUTE_CAPABILITY_MAJOR and _MINOR (cuda.h)."""

ABSENT_CAPABILITY = "9.0"
"""Of the GPU that a plan is about where none is here: one with every precision that pack may be asked for."""

ARCHITECTURES = {
    "6.0": "pascal", "6.1": "pascal", "7.0": "volta", "7.2": "volta", "7.5": "turing", "8.0": "ampere", "8.6": "ampere",
    "8.7": "ampere-igpu", "8.9": "ada", "9.0": "hopper", "10.0": "blackwell", "10.3": "blackwell", "11.0": "blackwell",
    "12.0": "blackwell", "12.1": "blackwell",
}  # fmt: skip
"""Compute capability -> architecture (developer.nvidia.com/cuda-gpus)."""


@dataclass(frozen=True, slots=True)
class Gpu:
    """What the driver says of the first GPU that this process may use."""

    name: str
    """ "NVIDIA H200"; a MIG slice has its size at the end."""
    compute_capability: str
    units: int
    """SMs that this process may use: those of the slice on a GPU that is split."""
    memory_bytes: int
    is_integrated: bool
    driver: str | None
    """Its version; None where neither nvidia-smi nor the kernel says."""
    is_split: bool
    """Whether MIG mode is on."""
    processes: int
    """That compute on it now, as far as nvidia-smi sees them."""
    cache_bytes: int = 0
    """Of its L2 cache; 0 where the driver does not say."""

    @property
    def notes(self) -> tuple[str, ...]:
        """All that a user may want to know."""
        return (*([f"Driver {self.driver}."] if self.driver else []), *self.warnings)

    @property
    def conditions(self) -> str:
        """What figures that are measured on it depend on beside what it is: "driver 570.86.15, split, shared"."""
        said = [f"driver {self.driver or 'unknown'}"]
        return ", ".join([*said, *(["split"] if self.is_split else []), *(["shared"] if self.processes else [])])

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a reader of measurements must know."""
        said = []
        if self.is_split:
            said.append(
                "MIG mode is on: figures are those of this slice, and other slices share its memory's bandwidth."
            )
        if self.processes:
            count = "1 other process computes" if self.processes == 1 else f"{self.processes} other processes compute"
            said.append(f"{count} on this GPU now: measure when it is free, or figures are those of a shared GPU.")
        return tuple(said)


@cache
def find_gpu() -> Gpu | None:
    """This machine's GPU, probed once a process; None without a GPU or its driver."""
    return probe_gpu()


def probe_gpu(
    load: Callable[[str], Any] = ctypes.CDLL,
    ask: Callable[[Sequence[str]], str] | None = None,
    driver_file: Path = DRIVER_FILE,
) -> Gpu | None:
    """Asks the driver. `load` opens its library; `ask` runs nvidia-smi with arguments and returns what it printed;
    `driver_file` tells the driver's version where that does not."""
    try:
        cuda = load(LIBRARY)
    except OSError:
        return None
    device = ctypes.c_int()
    if cuda.cuInit(0) != 0 or cuda.cuDeviceGet(ctypes.byref(device), 0) != 0:
        return None
    name, bus, size = ctypes.create_string_buffer(256), ctypes.create_string_buffer(32), ctypes.c_size_t()
    cuda.cuDeviceGetName(name, len(name), device)
    cuda.cuDeviceGetPCIBusId(bus, len(bus), device)
    cuda.cuDeviceTotalMem_v2(ctypes.byref(size), device)

    def read(attribute: int) -> int:
        value = ctypes.c_int()
        cuda.cuDeviceGetAttribute(ctypes.byref(value), attribute, device)
        return value.value

    driver, is_split, processes = _ask_sharing(bus.value.decode(), ask or _run_smi)
    return Gpu(
        name=name.value.decode(errors="replace"),
        compute_capability=f"{read(MAJOR)}.{read(MINOR)}",
        units=read(MULTIPROCESSORS),
        memory_bytes=size.value,
        is_integrated=bool(read(INTEGRATED)),
        driver=driver or _read_driver(driver_file),
        is_split=is_split,
        processes=processes,
        cache_bytes=read(L2_CACHE_SIZE),
    )


def describe_gpu(gpu: Gpu) -> Target:
    """The target `host-gpu` as far as the driver tells: without peaks and bandwidth, which it does not."""
    return Target(
        id=HOST_GPU,
        name=gpu.name,
        kind="jetson" if gpu.is_integrated else "cuda",
        arch=ARCHITECTURES.get(gpu.compute_capability, f"sm_{gpu.compute_capability.replace('.', '')}"),
        isa=(),
        compute_capability=gpu.compute_capability,
        units=gpu.units,
        memory_gb=round(gpu.memory_bytes / 1e9, 1),
        bandwidth_gb_s=None,
        dense_peak_tflops={},
        native=derive_gpu_native(gpu.compute_capability),
        instances=(),
        notes=gpu.notes,
        unsupported=None,
        sources={},
        is_here=True,
        driver_names=(gpu.name,),
        warnings=gpu.warnings,
        cache_mib=gpu.cache_bytes / 2**20 or None,
    )


def describe_absent_gpu() -> Target:
    """`host-gpu` where there is none: what a plan can tell, as of one of ABSENT_CAPABILITY."""
    return Target(
        id=HOST_GPU,
        name=f"an NVIDIA GPU of compute capability {ABSENT_CAPABILITY}",
        kind="cuda",
        arch=ARCHITECTURES[ABSENT_CAPABILITY],
        isa=(),
        compute_capability=ABSENT_CAPABILITY,
        units=1,
        memory_gb=None,
        bandwidth_gb_s=None,
        dense_peak_tflops={},
        native=derive_gpu_native(ABSENT_CAPABILITY),
        instances=(),
        notes=(),
        unsupported=None,
        sources={},
        is_here=False,
    )


def _ask_sharing(bus: str, ask: Callable[[Sequence[str]], str]) -> tuple[str | None, bool, int]:
    """(driver's version, whether MIG is on, computing processes) of the GPU at that PCI address, as far as it tells."""

    def query(what: str) -> str:
        try:
            return ask([f"--id={bus}", what, "--format=csv,noheader"])
        except (OSError, subprocess.SubprocessError):
            return ""

    driver, _, mig = query("--query-gpu=driver_version,mig.mode.current").strip().partition(",")
    pids = [line for line in query("--query-compute-apps=pid").split() if line.isdigit()]
    return driver.strip() or None, mig.strip() == "Enabled", len(pids)


def _read_driver(file: Path) -> str | None:
    """Of "NVRM version: NVIDIA UNIX x86_64 Kernel Module  570.86.15  ..." the number; None without such a line."""
    try:
        words = file.read_text("utf-8").partition("Kernel Module")[2].split()
    except OSError:
        return None
    return next((word for word in words if word[0].isdigit()), None)


def _run_smi(arguments: Sequence[str]) -> str:
    command = ["nvidia-smi", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=SMI_LIMIT_S, check=True).stdout
