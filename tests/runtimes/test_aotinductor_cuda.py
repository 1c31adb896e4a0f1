from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from gpu_driver import H200
from packc.candidate import PassStep
from packc.ingest.source import Geometry
from packc.runtimes import aotinductor_cuda
from packc.runtimes.aotinductor_cuda import AotInductorCuda, TorchBuild, find_torch_build, read_torch_build
from packc.spec.optimize import TensorRtSection
from packc.tensors import InputRange
from sources import device, source_info

TEXT = source_info("sentence-similarity", Geometry(layers=6, heads=12, hidden=384, ffn=1536))
IMAGES = source_info("image-classification", None)
GPU = device("cuda", native=("fp32", "tf32", "bf16", "fp16", "fp8", "int8"))


@pytest.fixture(autouse=True)
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aotinductor_cuda, "find_torch_build", lambda: TorchBuild("2.11.0", "13.0"))
    monkeypatch.setattr(aotinductor_cuda, "find_compiler", lambda: ("/usr/bin/g++",))
    monkeypatch.setattr(aotinductor_cuda, "find_cuda_home", lambda: Path("/usr/local/cuda"))
    monkeypatch.setattr(aotinductor_cuda, "find_gpu", lambda: H200)


def test_transformers_are_compiled_in_every_precision() -> None:
    offered, refused = AotInductorCuda().candidates(TEXT, GPU, GPU.native)
    assert [(c.id, str(c.build), dict(c.session)) for c in offered] == [
        ("torch-cuda-fp32", "torch[precision=fp32]", {"graph": True}),
        ("torch-cuda-tf32", "torch[precision=tf32]", {"graph": True, "tf32": True}),
        ("torch-cuda-bf16-gelu", "torch[gelu=True,precision=bf16]", {"graph": True}),
        ("torch-cuda-fp16-gelu", "torch[gelu=True,precision=fp16]", {"graph": True}),
    ]
    assert [r.what for r in refused] == ["torch-cuda-fp8", "torch-cuda-int8"]
    assert "no faster than in fp16" in refused[0].reason


def test_convolutions_have_their_channels_last_in_tensor_cores() -> None:
    offered, _ = AotInductorCuda().candidates(IMAGES, GPU, ("fp32", "tf32", "fp16"))
    assert [(c.id, str(c.build)) for c in offered] == [
        ("torch-cuda-fp32", "torch[precision=fp32]"),
        ("torch-cuda-tf32-nhwc", "torch[nhwc=True,precision=tf32]"),
        ("torch-cuda-fp16-nhwc", "torch[nhwc=True,precision=fp16]"),
        ("torch-cuda-fp16-nhwc-relu", "torch[nhwc=True,precision=fp16,relu=True]"),
    ]


@pytest.mark.parametrize(
    ("ranges", "told"),
    [
        (
            [InputRange("mask", (1,), ((4,),), (8,)), InputRange("ids", (1, 1), ((4, 32), (8, 99)), (8, 512))],
            "usual=4x32",
        ),
        (
            [InputRange("x", (1, 3, 8, 8), ((1, 3, 8, 8),), (1, 3, 8, 8))],
            "fixed=True,gelu=True,precision=fp16,usual=1x3x8x8",
        ),
    ],
)
def test_kernels_are_chosen_for_the_usual_shape(ranges: list[InputRange], told: str) -> None:
    runtime = AotInductorCuda()
    candidate = runtime.candidates(TEXT, GPU, ("fp16",))[0][0]
    assert told in str(runtime.fit_shapes(candidate, ranges, TensorRtSection()).build)
    assert runtime.fit_shapes(candidate, [], TensorRtSection()) == candidate


def test_it_is_tried_without_being_asked_for() -> None:
    assert AotInductorCuda().on_request(TEXT, GPU) == {}


@pytest.mark.parametrize(
    ("info", "target", "reason"),
    [
        (replace(TEXT, origin="onnx"), GPU, "give the checkpoint it was exported from"),
        (TEXT, replace(GPU, is_here=False), "build on Box itself"),
    ],
)
def test_what_cannot_be_compiled_here_is_refused(info: object, target: object, reason: str) -> None:
    offered, refused = AotInductorCuda().candidates(info, target, ("fp16",))  # type: ignore[arg-type]
    assert (offered, len(refused), refused[0].what) == ((), 1, "torch-cuda")
    assert reason in refused[0].reason


@pytest.mark.parametrize(
    ("name", "found", "reason"),
    [
        ("find_torch_build", None, "pip install torch"),
        ("find_torch_build", TorchBuild("2.13.0", None), "was built without CUDA"),
        ("find_compiler", None, "install g++"),
        ("find_cuda_home", None, "pip install nvidia-cuda-cccl nvidia-cuda-crt"),
    ],
)
def test_the_plan_says_how_to_get_what_is_missing(
    name: str, found: object, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(aotinductor_cuda, name, lambda: found)
    _, refused = AotInductorCuda().candidates(TEXT, GPU, ("fp16",))
    assert [r.what for r in refused] == ["torch-cuda"]
    assert reason in refused[0].reason


def test_no_other_device_hears_of_it() -> None:
    assert AotInductorCuda().candidates(TEXT, device("cpu"), ("fp32",)) == ((), ())


def test_a_build_of_torch_is_told_from_its_files() -> None:
    text = (
        "from typing import Optional\n__all__ = ['cuda']\n__version__ = '2.11.0+cu130'\ncuda: Optional[str] = '13.0'\n"
    )
    assert read_torch_build(text) == TorchBuild("2.11.0", "13.0")
    assert read_torch_build(text.replace("'13.0'", "None")) == TorchBuild("2.11.0", None)
    assert read_torch_build("version = 3\n") is None
    assert [TorchBuild("2.11.0", "12.6").label, TorchBuild("2.11.0", None).label] == ["cu126", "cpu"]


def test_it_reads_the_torch_that_would_be_imported() -> None:
    torch = pytest.importorskip("torch")
    assert find_torch_build() == TorchBuild(torch.__version__.partition("+")[0], torch.version.cuda)


def test_artifacts_belong_to_a_build_of_torch_and_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aotinductor_cuda, "describe_compiler", lambda command: "g++ 12")
    runtime = AotInductorCuda()
    assert runtime.versions() == {"torch": "2.11.0", "cuda": "13.0"}
    assert runtime.compiler_versions() == {"c++": "g++ 12", "gpu": "NVIDIA H200 9.0", "driver": "570.86.15"}
    assert runtime.requirement == runtime.server_requirement == "torch==2.11.0+cu130"
    monkeypatch.setattr(aotinductor_cuda, "find_torch_build", lambda: TorchBuild("2.13.0", None))
    assert runtime.versions() == {}


def test_a_python_model_with_the_engine_serves_it() -> None:
    model_config_pb2 = pytest.importorskip("tritonclient.grpc.model_config_pb2")
    runtime, candidate = AotInductorCuda(), AotInductorCuda().candidates(TEXT, GPU, ("tf32",))[0][0]
    assert isinstance(candidate.build, PassStep)
    config = model_config_pb2.ModelConfig(name="m", max_batch_size=8)
    runtime.configure_triton(config, runtime.job_options(candidate, 1), threads=1)
    written = {key: value.string_value for key, value in config.parameters.items()}
    assert config.backend == "python"
    assert json.loads(written.pop("engine_options")) == {"graph": True, "tf32": True}
    assert written == {"model": "model.pt2", "threads": "1", "requirement": "torch==2.11.0+cu130"}
