from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from packc.candidate import PassStep
from packc.ingest.source import Geometry
from packc.runtimes import aotinductor
from packc.runtimes.aotinductor import AotInductor, describe_compiler, find_compiler, find_torch
from sources import device, source_info

TEXT = source_info("sentence-similarity", Geometry(layers=6, heads=12, hidden=384, ffn=1536))
AMX = device(native=("fp32", "bf16", "int8"), isa=("avx512f", "amx_bf16"))


@pytest.fixture(autouse=True)
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aotinductor, "version", lambda package: "2.13.0+cpu")
    monkeypatch.setattr(aotinductor, "find_compiler", lambda: ("/usr/bin/g++",))


def test_bf16_is_for_cpus_that_compute_in_it() -> None:
    offered, refused = AotInductor().candidates(TEXT, AMX, AMX.native)
    assert [(c.id, c.precision, c.passes) for c in offered] == [
        ("torch-fp32", "fp32", ()),
        ("torch-bf16", "bf16", ()),
    ]
    assert str(offered[1].build) == "torch[precision=bf16]"
    assert [rejection.what for rejection in refused] == ["torch-int8"]
    arm = device(native=("fp32", "bf16"), isa=("asimd", "bf16"))
    offered, refused = AotInductor().candidates(TEXT, arm, arm.native)
    assert [c.id for c in offered] == ["torch-fp32"]
    assert [(r.what, "AVX512-BF16" in r.reason) for r in refused] == [("torch-bf16", True)]


def test_what_does_not_pay_waits_until_the_spec_asks_for_it() -> None:
    assert list(AotInductor().on_request(TEXT, AMX)) == ["torch-fp32", "torch-bf16"]


@pytest.mark.parametrize(
    ("info", "target", "reason"),
    [
        (TEXT, device("cuda"), "compiles for CPUs only, and Box is a cuda device"),
        (replace(TEXT, origin="onnx"), AMX, "give the checkpoint it was exported from"),
        (TEXT, replace(AMX, is_here=False), "build on Box itself"),
    ],
)
def test_what_cannot_be_compiled_here_is_refused(info: object, target: object, reason: str) -> None:
    offered, refused = AotInductor().candidates(info, target, ("fp32", "bf16"))  # type: ignore[arg-type]
    assert (offered, len(refused), refused[0].what) == ((), 1, "torch")
    assert reason in refused[0].reason


def test_without_torch_or_a_compiler_the_plan_says_how_to_get_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aotinductor, "find_compiler", lambda: None)
    monkeypatch.delenv("CXX", raising=False)
    _, refused = AotInductor().candidates(TEXT, AMX, ("bf16",))
    assert "install g++ or clang++" in refused[0].reason

    def missing(package: str) -> str:
        raise aotinductor.PackageNotFoundError(package)

    monkeypatch.setattr(aotinductor, "version", missing)
    _, refused = AotInductor().candidates(TEXT, AMX, ("bf16",))
    assert "pip install" in refused[0].reason
    assert (find_torch(), AotInductor().versions()) == (None, {})


def test_the_compiler_that_cxx_names_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_compiler() is None
    for name in ("clang++", "mine"):
        (tmp_path / name).write_text("#!/bin/sh\n")
        (tmp_path / name).chmod(0o755)
    assert find_compiler() == (str(tmp_path / "clang++"),)
    monkeypatch.setenv("CXX", "mine")
    assert find_compiler() == (str(tmp_path / "mine"),)
    monkeypatch.setenv("CXX", "mine clang++ -m64")
    assert find_compiler() == (str(tmp_path / "mine"), "clang++", "-m64")


def test_a_compiler_that_cxx_names_in_vain_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aotinductor, "find_compiler", find_compiler)
    monkeypatch.setenv("CXX", "no-such-cache g++")
    _, refused = AotInductor().candidates(TEXT, AMX, ("fp32",))
    assert refused[0].reason == "CXX names no-such-cache, which is not on PATH"


def test_a_compiler_is_known_by_what_it_says_of_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "mine"
    program.write_text("#!/bin/sh\necho mine $1 1.2\necho and a licence\n")
    program.chmod(0o755)
    monkeypatch.setattr(aotinductor, "find_compiler", lambda: (str(program),))
    assert AotInductor().compiler_versions() == {"c++": "mine --version 1.2"}
    assert describe_compiler((str(tmp_path / "gone"),)) == ""


def test_any_build_of_the_version_will_do() -> None:
    assert AotInductor().requirement == AotInductor().server_requirement == "torch==2.13.0"


def test_a_python_model_with_the_engine_serves_it() -> None:
    model_config_pb2 = pytest.importorskip("tritonclient.grpc.model_config_pb2")
    runtime, candidate = AotInductor(), AotInductor().candidates(TEXT, AMX, ("bf16",))[0][0]
    assert isinstance(candidate.build, PassStep)
    config = model_config_pb2.ModelConfig(name="m", max_batch_size=8)
    runtime.configure_triton(config, runtime.job_options(candidate, 3), threads=3)
    written = {key: value.string_value for key, value in config.parameters.items()}
    assert config.backend == "python"
    assert json.loads(written.pop("engine_options")) == {}
    assert written == {"model": "model.pt2", "threads": "3", "requirement": "torch==2.13.0"}
