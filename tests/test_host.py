from __future__ import annotations

import os
from pathlib import Path

import pytest

from packc.host import count_cores, list_instructions, probe_host

X86 = "processor : 0\nmodel name : AMD EPYC 9V74\nflags : fpu avx2 fma avx512f avx512_vnni avx512_bf16 sse\n"
ARM = "processor : 0\nBogoMIPS : 243.75\nFeatures : fp asimd aes asimdhp asimddp sve i8mm bf16\n"


def make_root(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


@pytest.fixture
def four_cpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1, 2, 3}, raising=False)


def siblings(*groups: str) -> dict[str, str]:
    return {f"sys/devices/system/cpu/cpu{i}/topology/thread_siblings_list": f"{g}\n" for i, g in enumerate(groups)}


def test_this_machine_has_what_it_needs() -> None:
    host = probe_host()
    assert host.units >= 1
    assert "fp32" in host.native
    assert host.name


def test_x86_flags(tmp_path: Path, four_cpus: None) -> None:
    host = probe_host(make_root(tmp_path, {"proc/cpuinfo": X86, "proc/meminfo": "MemTotal:  1000000 kB\n"}))
    assert host.name == "AMD EPYC 9V74"
    assert host.isa == ("fma", "avx2", "avx512f", "avx512_vnni", "avx512_bf16")
    assert host.native == ("fp32", "bf16", "int8")
    assert (host.units, host.memory_gb) == (4, 1.0)


def test_arm_features(tmp_path: Path) -> None:
    host = probe_host(make_root(tmp_path, {"proc/cpuinfo": ARM}))
    assert host.isa == ("asimd", "asimdhp", "asimddp", "sve", "i8mm", "bf16")
    assert host.native == ("fp32", "bf16", "fp16", "int8")


def test_what_compilers_use_is_told_from_what_kernels_say(tmp_path: Path) -> None:
    flags = "fpu vme sse2 ssse3 sse4_1 lahf_lm bmi2 avx512_vbmi2 gfni sha_ni smap hypervisor xsave apic tsc_adjust"
    told = list_instructions(make_root(tmp_path / "x86", {"proc/cpuinfo": f"flags : {flags}\n"}))
    assert told == ("avx512_vbmi2", "bmi2", "gfni", "lahf_lm", "sha_ni", "sse2", "sse4_1", "ssse3")
    arm = make_root(tmp_path / "arm", {"proc/cpuinfo": "Features : fp asimd sve2\n"})
    assert list_instructions(arm) == ("asimd", "fp", "sve2")
    assert list_instructions(tmp_path / "none") == ()


def test_a_system_that_tells_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """macOS: no /proc, no affinity."""
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 10)
    host = probe_host(tmp_path)
    assert (host.units, host.isa, host.native) == (10, (), ("fp32",))
    assert host.name


def test_hyperthreads_of_a_core_count_once(tmp_path: Path, four_cpus: None) -> None:
    assert count_cores(make_root(tmp_path, siblings("0,2", "1,3", "0,2", "1,3"))) == 2


@pytest.mark.parametrize(("quota", "cores"), [("250000 100000", 2), ("50000 100000", 1), ("max 100000", 4)])
def test_quota_of_cgroup_2(tmp_path: Path, four_cpus: None, quota: str, cores: int) -> None:
    files = {"proc/self/cgroup": "0::/a/b\n", "sys/fs/cgroup/a/cpu.max": quota}
    assert count_cores(make_root(tmp_path, files)) == cores


def test_quota_of_cgroup_1(tmp_path: Path, four_cpus: None) -> None:
    files = {
        "proc/self/cgroup": "4:cpu,cpuacct:/job\n3:memory:/job\n",
        "sys/fs/cgroup/cpu/job/cpu.cfs_quota_us": "300000",
        "sys/fs/cgroup/cpu/job/cpu.cfs_period_us": "100000",
    }
    assert count_cores(make_root(tmp_path, files)) == 3
    (tmp_path / "sys/fs/cgroup/cpu/job/cpu.cfs_quota_us").write_text("-1")
    assert count_cores(tmp_path) == 4


@pytest.mark.parametrize(
    ("cgroup", "file", "limit", "memory_gb"),
    [
        ("0::/\n", "sys/fs/cgroup/memory.max", "2000000000", 2.0),
        ("0::/\n", "sys/fs/cgroup/memory.max", "max", 8.2),
        ("3:memory:/job\n", "sys/fs/cgroup/memory/job/memory.limit_in_bytes", "3000000000", 3.0),
        ("3:memory:/job\n", "sys/fs/cgroup/memory/job/memory.limit_in_bytes", "9223372036854771712", 8.2),
    ],
)
def test_memory_limits(tmp_path: Path, cgroup: str, file: str, limit: str, memory_gb: float) -> None:
    files = {"proc/meminfo": "MemTotal: 8000000 kB\n", "proc/self/cgroup": cgroup, file: limit}
    assert probe_host(make_root(tmp_path, files)).memory_gb == memory_gb
