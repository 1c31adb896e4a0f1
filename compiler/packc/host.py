"""Probes the machine that pack runs on: the target `host`."""

from __future__ import annotations

import os
import platform
import re
from pathlib import Path

from packc.target import ISA_FLAGS, Target, derive_native

_UNLIMITED_BYTES = 1 << 60
"""cgroup v1 says "no memory limit" with a number near 2^63."""

_FOR_COMPILERS = re.compile(
    "3dnow|abm|adx|aes|amx|apx|avx|bmi|cmov|cx16|f16c|fma|gfni|lahf_lm|mmx|movbe|movdir|pclmulqdq|pni|popcnt|rdpid|sha|"
    "sm[34]|sse|ssse3|tbm|vaes|vpclmulqdq|xop"
)
"""How the flags of x86 CPUs begin that compilers use; others tell of kernels, power and virtual machines."""


def probe_host(root: Path = Path("/")) -> Target:
    """This machine: the CPU's flags, the cores and the memory that this process may use.

    Cores are physical ones within the process's affinity, at most its cgroup's CPU quota; memory is at most its
    cgroup's limit. What the system does not tell is left out; `root` is where /proc and /sys are looked for.
    """
    cpuinfo = _read(root / "proc/cpuinfo")
    flags = {*_field(cpuinfo, "flags").split(), *_field(cpuinfo, "Features").split()}
    isa = tuple(flag for flag in ISA_FLAGS if flag in flags)
    memory_bytes = _count_memory_bytes(root)
    return Target(
        id="host",
        name=_field(cpuinfo, "model name") or platform.processor() or platform.machine(),
        kind="cpu",
        arch=platform.machine(),
        isa=isa,
        compute_capability=None,
        units=count_cores(root),
        memory_gb=round(memory_bytes / 1e9, 1) if memory_bytes else None,
        bandwidth_gb_s=None,
        dense_peak_tflops={},
        native=derive_native(isa),
        instances=(),
        notes=(),
        unsupported=None,
        sources={},
        is_here=True,
    )


def list_instructions(root: Path = Path("/")) -> tuple[str, ...]:
    """The flags of this CPU that a program compiled for it may depend on, as /proc/cpuinfo spells them, sorted.

    A CPU that has them all runs the program. Empty where the system does not tell.
    """
    cpuinfo = _read(root / "proc/cpuinfo")
    x86 = (flag for flag in _field(cpuinfo, "flags").split() if _FOR_COMPILERS.match(flag))
    return tuple(sorted({*x86, *_field(cpuinfo, "Features").split()}))


def count_cores(root: Path = Path("/")) -> int:
    """Physical cores that this process may keep busy: hyperthreads of one core count once, a CPU quota rounds down."""
    cpus = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1)
    cores = {_read(root / f"sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list") or str(cpu) for cpu in cpus}
    quota = _find_cpu_quota(root)
    return max(1, min(len(cores), int(quota)) if quota else len(cores))


def _find_cpu_quota(root: Path) -> float | None:
    """CPUs' worth of time that the cgroup allows, the tightest of its ancestors; None without a limit."""
    quotas = []
    for folder in _list_cgroups(root, "cpu"):
        if v2 := _read(folder / "cpu.max").split():
            quota, period = v2[0], v2[-1]
        else:
            quota, period = _read(folder / "cpu.cfs_quota_us"), _read(folder / "cpu.cfs_period_us")
        if quota.isdigit() and period.isdigit() and int(period) > 0:
            quotas.append(int(quota) / int(period))
    return min(quotas, default=None)


def _count_memory_bytes(root: Path) -> int | None:
    limits = []
    if total := _field(_read(root / "proc/meminfo"), "MemTotal").split():
        limits.append(int(total[0]) * 1024)
    elif hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        limits.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    for folder in _list_cgroups(root, "memory"):
        for name in ("memory.max", "memory.limit_in_bytes"):
            limit = _read(folder / name)
            if limit.isdigit() and int(limit) < _UNLIMITED_BYTES:
                limits.append(int(limit))
    return min(limits, default=None)


def _list_cgroups(root: Path, controller: str) -> list[Path]:
    """Folders of this process's cgroup and its ancestors, for version 2 and version 1 alike."""
    folders = []
    for line in _read(root / "proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        mount = root / "sys/fs/cgroup" / (controller if controllers else "")
        own = mount / path.strip("/")
        folders += [own, *(parent for parent in own.parents if parent.is_relative_to(mount))]
    return folders


def _field(text: str, name: str) -> str:
    """Value of the first `name : value` line; empty where there is none."""
    for line in text.splitlines():
        key, found, value = line.partition(":")
        if found and key.strip() == name:
            return value.strip()
    return ""


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return ""
