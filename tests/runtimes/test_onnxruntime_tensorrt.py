from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from packc.ingest.source import Geometry
from packc.package.model_config import new_config
from packc.plan import make_plan
from packc.runtimes import onnxruntime_tensorrt
from packc.runtimes.onnxruntime_cuda import INSTALL
from packc.runtimes.onnxruntime_tensorrt import (
    PROVIDER_FILE,
    SHAPE_OPTIONS,
    OnnxRuntimeTensorRt,
    find_problem,
    write_shapes,
)
from packc.spec.optimize import OptimizeSection, TensorRtSection
from packc.tensors import InputRange, Precision
from sources import device, source_info

BERT = source_info("sentence-similarity", Geometry(layers=12, heads=12, hidden=768, ffn=3072))
GPU: tuple[Precision, ...] = ("fp32", "fp16")
FP16 = "onnxruntime-tensorrt-fp16"

IDS = InputRange("ids", (1, 1), ((1, 128), (8, 128)), (8, 128))
FIXED = InputRange("scale", (1,), ((1,), (1,)), (1,))
SCALAR = InputRange("limit", (), ((), ()), ())


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An onnxruntime with the library of a provider that links libnvinfer.so.10; the loader opens what it is asked."""
    library = tmp_path / PROVIDER_FILE
    library.parent.mkdir()
    library.write_bytes(b"\x7fELF\0libnvinfer.so.10\0libnvinfer_plugin.so.10\0")
    spec = SimpleNamespace(origin=str(tmp_path / "__init__.py"))
    monkeypatch.setattr(onnxruntime_tensorrt, "find_spec", lambda name: spec)
    monkeypatch.setattr(subprocess, "run", lambda command, **options: None)
    find_problem.cache_clear()
    yield tmp_path
    find_problem.cache_clear()


def test_tensorrt_is_there_where_the_loader_finds_it(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(subprocess, "run", lambda command, **options: asked.append(command[-1]))
    assert find_problem() == ""
    assert asked == ["libnvinfer.so.10"]


def test_the_library_that_is_missing_is_named(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(command: list[str], **options: Any) -> None:
        raise subprocess.CalledProcessError(1, command)

    monkeypatch.setattr(subprocess, "run", fail)
    assert find_problem().startswith("onnxruntime's provider for TensorRT needs libnvinfer.so.10, which the loader")


@pytest.mark.parametrize("installed", [True, False])
def test_an_onnxruntime_without_the_provider(package: Path, monkeypatch: pytest.MonkeyPatch, installed: bool) -> None:
    (package / PROVIDER_FILE).unlink()
    if not installed:
        monkeypatch.setattr(onnxruntime_tensorrt, "find_spec", lambda name: None)
    assert find_problem() == "this onnxruntime comes without a provider for TensorRT"


def test_the_loader_is_asked_in_a_process_of_its_own(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    spec = SimpleNamespace(origin=str(package / "__init__.py"))
    monkeypatch.setattr(onnxruntime_tensorrt, "find_spec", lambda name: spec)
    (package / PROVIDER_FILE).write_bytes(b"\x7fELF\0libnvinfer.so.99999\0")
    assert "libnvinfer.so.99999" in find_problem()


def test_the_range_of_every_input_is_told() -> None:
    assert write_shapes([IDS, FIXED]) == {
        "trt_profile_min_shapes": "ids:1x1,scale:1",
        "trt_profile_opt_shapes": "ids:1x128,scale:1",
        "trt_profile_max_shapes": "ids:8x128,scale:1",
    }


def test_an_open_axis_of_one_size_has_a_range_too() -> None:
    assert write_shapes([FIXED, SCALAR]) == dict.fromkeys(SHAPE_OPTIONS, "scale:1")


@pytest.fixture
def usable(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a machine that has onnxruntime-gpu, and the TensorRT that it was built with."""
    monkeypatch.setattr(OnnxRuntimeTensorRt, "versions", lambda self: {"onnxruntime-gpu": "1.31.1"})
    monkeypatch.setattr(onnxruntime_tensorrt, "find_problem", lambda: "")


def test_it_is_tried_in_fp16_where_it_is_named(usable: None) -> None:
    gpu = device("cuda", GPU)
    (candidate,), (refused,) = OnnxRuntimeTensorRt().candidates(BERT, gpu, GPU)
    assert (candidate.id, candidate.session) == (FP16, {"tensorrt": True})
    assert [step.name for step in candidate.passes] == ["clean_graph", "cast_fp16"]
    assert refused.what == "onnxruntime-tensorrt-fp32"
    runtimes = (OnnxRuntimeTensorRt(),)
    plan = make_plan(BERT, gpu, OptimizeSection(), runtimes)
    assert (plan.candidates, plan.rejected[-1].what) == ((), FP16)
    asked = make_plan(BERT, gpu, OptimizeSection(runtimes=("onnxruntime-tensorrt",)), runtimes)
    assert asked.candidates == (candidate,)


def test_other_devices_and_precisions_have_no_candidate(usable: None) -> None:
    assert OnnxRuntimeTensorRt().candidates(BERT, device("cpu", GPU), GPU) == ((), ())
    assert OnnxRuntimeTensorRt().candidates(BERT, device("cuda", GPU), ("fp32",))[0] == ()


def test_a_gpu_that_is_here_needs_its_tensorrt(usable: None, monkeypatch: pytest.MonkeyPatch) -> None:
    gpu, runtime = device("cuda", GPU), OnnxRuntimeTensorRt()
    monkeypatch.setattr(onnxruntime_tensorrt, "find_problem", lambda: "there is no libnvinfer.so.10")
    offered, (refused,) = runtime.candidates(BERT, gpu, GPU)
    assert (offered, refused.what, refused.reason) == ((), "onnxruntime-tensorrt", "there is no libnvinfer.so.10")
    assert runtime.candidates(BERT, replace(gpu, is_here=False), GPU)[0]
    monkeypatch.setattr(OnnxRuntimeTensorRt, "versions", lambda self: {})
    assert runtime.candidates(BERT, gpu, GPU)[1][0].reason == INSTALL


def test_the_accelerator_tensorrt_comes_before_cuda_and_keeps_nothing(usable: None) -> None:
    runtime = OnnxRuntimeTensorRt()
    (candidate,), _ = runtime.candidates(BERT, device("cuda", GPU), GPU)
    fitted = runtime.fit_shapes(candidate, [IDS], TensorRtSection())
    config = new_config("model", 8)
    runtime.configure_triton(config, runtime.job_options(fitted, 1), 1)
    first, second = config.optimization.execution_accelerators.gpu_execution_accelerator
    assert (config.backend, first.name, second.name) == ("onnxruntime", "tensorrt", "cuda")
    assert dict(first.parameters) == {
        "trt_profile_min_shapes": "ids:1x1",
        "trt_profile_opt_shapes": "ids:1x128",
        "trt_profile_max_shapes": "ids:8x128",
    }
    assert "pack_cuda_graph" not in config.parameters
