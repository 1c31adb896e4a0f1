from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

import pytest

from gpu_driver import H200
from packc import doctor
from packc.doctor import examine
from packc.errors import MissingError
from packc.extras import Library
from packc.gpu import describe_gpu
from packc.runtimes.tensorrt_python import VARIABLE
from tensorrt_python import write_tensorrt_python


def test_a_server_that_is_named_wrongly_is_a_problem_and_no_crash(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise MissingError("PACK_TRITON_SERVER names /nope")

    monkeypatch.setattr(doctor, "find_server", fail)
    health = examine()
    assert health.server is None
    assert health.server_problem == "PACK_TRITON_SERVER names /nope"
    assert "PACK_TRITON_SERVER names /nope" in health.needs[0].missing
    assert not health.is_ready


def test_every_kind_of_target_is_spoken_of() -> None:
    assert [need.kind for need in examine().needs] == ["cpu", "cuda", "jetson", "neuron"]


def test_examining_imports_none_of_the_libraries(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("torch", "onnxruntime"):
        monkeypatch.setitem(sys.modules, name, None)
    assert {library.name for library in examine().libraries} >= {"torch", "onnxruntime", "tritonclient"}


def test_a_gpu_needs_its_onnxruntime(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "find_host_gpu", lambda: describe_gpu(H200))
    monkeypatch.setattr(doctor, "list_libraries", lambda: (Library("onnxruntime", "cpu", ">=1.23", "1.26.0"),))
    monkeypatch.setattr(doctor.OnnxRuntimeCuda, "versions", lambda self: {})
    health = examine()
    assert health.gpu is not None
    assert health.needs[1].commands == ("pip install 'onnxruntime-gpu[cuda,cudnn]==1.26.0'",)
    monkeypatch.setattr(doctor.OnnxRuntimeCuda, "versions", lambda self: {"onnxruntime-gpu": "1.26.0"})
    assert examine().needs[1].is_ready


def test_without_a_gpu_cuda_is_for_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "find_host_gpu", lambda: None)
    assert examine().needs[1].missing == (doctor.NO_GPU,)


@pytest.mark.parametrize(("variable", "is_ready"), [("trtpy", True), ("missing", False)])
def test_a_jetson_needs_its_tensorrt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str, is_ready: bool
) -> None:
    write_tensorrt_python(tmp_path / "trtpy", "10.3.0.30", 10)
    monkeypatch.setenv(VARIABLE, str(tmp_path / variable))
    monkeypatch.setattr(doctor, "find_host_gpu", lambda: describe_gpu(dataclasses.replace(H200, is_integrated=True)))
    need = next(need for need in examine().needs if need.kind == "jetson")
    assert need.is_ready == is_ready
    assert is_ready or "name a Python that has tensorrt" in need.missing[0]


def test_elsewhere_a_jetson_gets_bundles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "find_host_gpu", lambda: describe_gpu(H200))
    assert next(need for need in examine().needs if need.kind == "jetson").missing == (doctor.NO_JETSON,)
