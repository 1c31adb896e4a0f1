from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from packc.candidate import PassStep
from packc.child import die_with_parent
from packc.errors import PackError
from packc.runtimes.compile import CompileRequest
from packc.runtimes.tensorrt_compile import compile_model, describe_engine, describe_layers
from packc.runtimes.tensorrt_python import ENGINE, VARIABLE
from tensorrt_python import write_tensorrt_python

PROFILES = ("x=1x2/1x2/4x2",)


def make_request(folder: Path, **options: object) -> CompileRequest:
    graph, out = folder / "graph" / "model.onnx", folder / "out"
    for place in (graph.parent, out):
        place.mkdir(exist_ok=True)
    graph.write_text("graph")
    step = PassStep("tensorrt", {"precision": "fp16", "profiles": PROFILES, **options})  # type: ignore[dict-item]
    return CompileRequest("c", graph, step, None, None, out, cache=folder / "cache")


def test_the_named_python_builds_the_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, str(write_tensorrt_python(tmp_path / "trtpy")))
    request = make_request(tmp_path)
    remarks = compile_model(request)
    assert sorted(file.name for file in request.out.iterdir()) == ["model.json", "model.layers.json", "model.plan"]
    assert (request.out / "model.plan").read_text() == "engine of graph"
    told = json.loads((request.out / "model.json").read_text())["options"]
    assert (told["precision"], told["profiles"]) == ("fp16", list(PROFILES))
    assert remarks == (
        "tensorrt: an engine of TensorRT 8.6.0 for NVIDIA H200 (compute capability 9.0, driver 570.86.15), "
        "built in 42 s",
        "tensorrt: 3 layers, 1 of them fused attention",
        "tensorrt: 1 of 3 layers give fp32, though fp16 was asked for",
    )


def test_timings_of_kernels_are_kept_for_the_next_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, str(write_tensorrt_python(tmp_path / "trtpy")))
    compile_model(make_request(tmp_path))
    compile_model(make_request(tmp_path))
    (timings,) = (tmp_path / "cache").rglob("timing.cache")
    assert timings.read_text() == "++"


def test_tensorrts_reason_is_the_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    why = "TensorRT 8.6.0 cannot parse Gelu (node /gelu): no importer"
    monkeypatch.setenv(VARIABLE, str(write_tensorrt_python(tmp_path / "trtpy", failure=why)))
    with pytest.raises(PackError) as raised:
        compile_model(make_request(tmp_path))
    assert str(raised.value) == why


def test_a_builder_that_is_killed_has_given_no_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    python = write_tensorrt_python(tmp_path / "trtpy")
    end = "import os, signal\nprint('a warning', file=sys.stderr, flush=True)\nos.kill(os.getpid(), signal.SIGKILL)\n"
    python.write_text(python.read_text().replace("told =", f"{end}told ="))
    monkeypatch.setenv(VARIABLE, str(python))
    with pytest.raises(PackError) as raised:
        compile_model(make_request(tmp_path))
    assert str(raised.value) == "TensorRT's builder was killed by SIGKILL, likely out of memory"


def test_a_builder_ends_with_the_build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, str(write_tensorrt_python(tmp_path / "trtpy")))
    run, asked = subprocess.run, []

    def start(command: list[object], **options: Any) -> Any:
        asked.extend([options.get("preexec_fn")] if ENGINE in command and "-c" not in command else [])
        return run(command, **options)

    monkeypatch.setattr(subprocess, "run", start)
    compile_model(make_request(tmp_path))
    assert asked == [die_with_parent]


def test_without_tensorrt_the_reason_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path / "missing"))
    with pytest.raises(PackError, match="cannot be run"):
        compile_model(make_request(tmp_path))


def test_fp32_layers_are_no_news_in_an_fp32_engine() -> None:
    inspected = {"Layers": [{"Name": "head", "Outputs": [{"Format/Datatype": "Row major linear FP32"}]}]}
    assert describe_layers(inspected, "fp32") == ("tensorrt: 1 layer",)


def test_a_driver_that_does_not_say_its_version_is_unknown() -> None:
    facts = {"tensorrt": "10.3.0.30", "device": "Orin", "compute_capability": "8.7", "driver": "", "build_s": 3.0}
    assert "driver unknown" in describe_engine(facts)


def test_regions_that_are_compiled_as_a_whole_are_told() -> None:
    layers = [{"Name": "{ForeignNode[a...b]}", "LayerType": "Myelin"}, {"Name": "copy", "LayerType": "Reformat"}]
    assert describe_layers({"Layers": layers}, "fp16") == ("tensorrt: 2 layers, 1 of them compiled as a whole",)


def test_a_report_of_the_inspector_that_cannot_be_read_is_told() -> None:
    (remark,) = describe_layers({"Unread": "{", "Problem": "Expecting value in '{'"}, "fp16")
    assert remark == (
        "tensorrt: its inspector's report is no JSON (Expecting value in '{'), so nothing is known of the layers"
    )
