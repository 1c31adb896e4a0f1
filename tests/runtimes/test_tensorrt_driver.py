from __future__ import annotations

import ctypes
from pathlib import Path

import pytest

from tensorrt_bench import DYNAMIC, Bench


def test_the_drivers_version_is_told_where_the_system_does(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def read(path: Path, encoding: str) -> str:
        assert str(path) == "/proc/driver/nvidia/version"
        return "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  570.86.15  Release Build\nGCC version: 12\n"

    def refuse(path: Path, encoding: str) -> str:
        raise FileNotFoundError(path)

    monkeypatch.setattr(Path, "read_text", read)
    assert bench.engine.Device(0).describe()["driver"] == "570.86.15"
    monkeypatch.setattr(Path, "read_text", refuse)
    assert "driver" not in bench.engine.Device(0).describe()


def test_without_a_gpu_it_says_so(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.cuda.status = 100
    with pytest.raises(RuntimeError, match=r"^cuInit failed: CUDA_ERROR_NO_DEVICE$"):
        bench.engine.build(bench.model, str(bench.plan), DYNAMIC)

    def refuse(name: str) -> None:
        raise OSError(f"{name}: no such file")

    monkeypatch.setattr(ctypes, "CDLL", refuse)
    with pytest.raises(RuntimeError, match=r"^no NVIDIA driver: libcuda\.so\.1: no such file$"):
        bench.engine.load(bench.model, DYNAMIC, threads=1)
