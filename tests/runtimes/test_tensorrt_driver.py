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


@pytest.mark.parametrize(
    ("broken", "message"),
    [("breaks_captures", r"CUDA_ERROR_STREAM_CAPTURE_INVALIDATED$"), ("breaks_graphs", r"out of GPU memory \(cuGraph")],
)
def test_nothing_is_left_of_a_capture_that_failed(bench: Bench, broken: str, message: str) -> None:
    device = bench.engine.Device(0)
    setattr(bench.cuda, broken, True)
    with pytest.raises(RuntimeError, match=rf"^capture failed: .*{message}"):
        bench.engine.capture(device, ctypes.c_void_p(7), lambda: bench.cuda.submit("execute", lambda: None))
    assert (bench.cuda.captured, [graph for graph in bench.cuda.graphs.values() if graph]) == (None, [])


def test_work_that_fails_ends_its_capture(bench: Bench) -> None:
    def work() -> None:
        bench.cuda.submit("execute", lambda: None)
        raise RuntimeError("no kernel")

    with pytest.raises(RuntimeError, match=r"^capture failed: no kernel$"):
        bench.engine.capture(bench.engine.Device(0), ctypes.c_void_p(7), work)
    assert (bench.cuda.captured, [graph for graph in bench.cuda.graphs.values() if graph]) == (None, [])


def test_without_a_gpu_it_says_so(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.cuda.status = 100
    with pytest.raises(RuntimeError, match=r"^cuInit failed: CUDA_ERROR_NO_DEVICE$"):
        bench.engine.build(bench.model, str(bench.plan), DYNAMIC)

    def refuse(name: str) -> None:
        raise OSError(f"{name}: no such file")

    monkeypatch.setattr(ctypes, "CDLL", refuse)
    with pytest.raises(RuntimeError, match=r"^no NVIDIA driver: libcuda\.so\.1: no such file$"):
        bench.engine.load(bench.model, DYNAMIC, threads=1)
