from __future__ import annotations

import ctypes
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from gpu_driver import H200, StubDriver
from packc.gpu import Gpu, describe_gpu, find_gpu, probe_gpu


def answer(facts: str, users: str = "") -> Callable[[Sequence[str]], str]:
    return lambda arguments: users if "--query-compute-apps=pid" in arguments else facts


def test_the_driver_tells_what_the_gpu_is() -> None:
    gpu = probe_gpu(lambda name: StubDriver(), answer("570.86.15, Disabled\n"))
    assert gpu == H200
    assert gpu.notes == ("Driver 570.86.15.",)


def test_nvidia_smi_is_asked_about_that_gpu_alone() -> None:
    asked: list[Sequence[str]] = []

    def ask(arguments: Sequence[str]) -> str:
        asked.append(arguments)
        return ""

    probe_gpu(lambda name: StubDriver(), ask)
    assert [arguments[0] for arguments in asked] == ["--id=0000:1B:00.0"] * 2


def test_a_split_or_shared_gpu_is_noted() -> None:
    gpu = probe_gpu(lambda name: StubDriver(), answer("570.86.15, Enabled\n", "4242\n4243\n"))
    assert gpu is not None
    assert (gpu.is_split, gpu.processes) == (True, 2)
    assert "MIG mode is on" in gpu.notes[1]
    assert gpu.warnings == gpu.notes[1:] == describe_gpu(gpu).warnings
    assert gpu.conditions == "driver 570.86.15, split, shared"
    assert H200.conditions == "driver 570.86.15"
    assert gpu.notes[2].startswith("2 other processes compute on this GPU now")


@pytest.mark.parametrize("facts", ["550.54, [N/A]\n", "550.54\n"])
def test_gpus_without_mig_are_whole(facts: str) -> None:
    gpu = probe_gpu(lambda name: StubDriver(), answer(facts))
    assert gpu is not None
    assert (gpu.driver, gpu.is_split, gpu.processes) == ("550.54", False, 0)


def refuse(arguments: Sequence[str]) -> str:
    raise FileNotFoundError("nvidia-smi")


def test_without_nvidia_smi_nothing_is_said_of_its_users(tmp_path: Path) -> None:
    gpu = probe_gpu(lambda name: StubDriver(), refuse, tmp_path / "version")
    assert gpu is not None
    assert (gpu.driver, gpu.notes) == (None, ())


@pytest.mark.parametrize("kind", ["x86_64 Kernel Module", "Open Kernel Module for x86_64"])
def test_without_nvidia_smi_the_kernel_tells_the_driver(tmp_path: Path, kind: str) -> None:
    file = tmp_path / "version"
    file.write_text(f"NVRM version: NVIDIA UNIX {kind}  580.95.05  Release Build\nGCC version:  gcc version 12.3.0\n")
    gpu = probe_gpu(lambda name: StubDriver(), refuse, file)
    assert gpu is not None
    assert gpu.driver == "580.95.05"
    told = probe_gpu(lambda name: StubDriver(), answer("570.86.15, Disabled\n"), file)
    assert told is not None
    assert told.driver == "570.86.15"


def test_what_one_query_told_stays_where_the_other_fails() -> None:
    def ask(arguments: Sequence[str]) -> str:
        if "--query-compute-apps=pid" in arguments:
            raise subprocess.TimeoutExpired("nvidia-smi", 20.0)
        return "570.86.15, Enabled\n"

    gpu = probe_gpu(lambda name: StubDriver(), ask)
    assert gpu is not None
    assert (gpu.driver, gpu.is_split, gpu.processes) == ("570.86.15", True, 0)


def test_without_a_driver_or_a_gpu_there_is_none() -> None:
    def fail(name: str) -> Any:
        raise OSError(name)

    assert probe_gpu(fail) is None
    assert probe_gpu(lambda name: StubDriver(status=100)) is None


def test_the_target_has_only_what_was_probed() -> None:
    target = describe_gpu(H200)
    assert (target.id, target.kind, target.arch, target.is_here) == ("host-gpu", "cuda", "hopper", True)
    assert (target.units, target.memory_gb, target.session_threads) == (132, 150.1, 1)
    assert target.native == ("fp32", "tf32", "bf16", "fp16", "fp8", "int8")
    assert (target.dense_peak_tflops, target.bandwidth_gb_s, target.sources) == ({}, None, {})


def test_an_integrated_gpu_is_a_jetson() -> None:
    orin = Gpu("Orin", "8.7", 8, 8 * 10**9, True, None, False, 0)
    assert (describe_gpu(orin).kind, describe_gpu(orin).arch) == ("jetson", "ampere-igpu")


@pytest.mark.gpu
def test_a_real_driver_tells_what_every_gpu_has() -> None:
    gpu = find_gpu()
    assert gpu is not None
    assert ctypes.CDLL("libcuda.so.1")
    assert gpu.name
    assert gpu.units > 0
    assert gpu.memory_bytes > 2**30
    assert "fp16" in describe_gpu(gpu).native
