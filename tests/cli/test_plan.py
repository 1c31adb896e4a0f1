"""`pack plan`: what a build would try; nothing is built."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from driver_world import HOST, SPEC
from gpu_driver import H200
from models import make_tiny_onnx
from packc import target_profiles
from packc.cli import plan
from packc.cli.main import run
from packc.gpu import describe_gpu
from packc.runtimes.tensorrt_python import VARIABLE
from tensorrt_python import write_tensorrt_python

TARGETS = HOST + '\n[targets.edge]\nprofile = "aws-inf2"\n'


@pytest.fixture
def spec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PACK_CACHE_DIR", str(tmp_path / "cache"))
    make_tiny_onnx(tmp_path / "tiny.onnx")
    path = tmp_path / "spec.toml"
    path.write_text(SPEC + TARGETS)
    return path


def test_candidates_and_what_is_not_tried(spec: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["plan", str(spec)]) == 0
    out = capsys.readouterr().out
    assert out.startswith("tiny: tensors, ")
    assert "\ncpu: " in out
    assert "(this machine)\nCANDIDATE " in out
    assert "onnxruntime-fp32 " in out
    assert "elsewhere: nothing is measured here" in out
    edge = out.split("\nedge: ")[1]
    assert "CANDIDATE" not in edge
    assert "not tried: onnxruntime, openvino, torch: compiles for CPUs only, and AWS" in edge
    assert "pack build" not in out.split("\nedge: ")[0]
    assert not (spec.parent / "build").exists()


def test_json_is_one_document(spec: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["plan", str(spec), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert list(document) == ["schema", "model", "targets", "combine"]
    assert (document["schema"], document["model"]) == (1, "tiny")
    cpu, edge = document["targets"]
    assert list(cpu) == list(edge) == ["name", "profile", "is_here", "candidates", "build", "rejected"]
    assert (cpu["name"], cpu["profile"], cpu["is_here"]) == ("cpu", "host", True)
    assert cpu["candidates"][0] == {
        "id": "onnxruntime-fp32",
        "runtime": "onnxruntime",
        "precision": "fp32",
        "passes": [],
    }
    assert (edge["name"], edge["is_here"], edge["candidates"]) == ("edge", False, [])
    assert (cpu["build"], edge["build"]["exit_code"]) == (None, 5)
    assert all(rejection["what"] and rejection["reason"] for rejection in edge["rejected"])


def test_plan_and_build_agree_about_a_device_that_nothing_compiles_for(
    spec: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    reason = "this version of pack has no runtime that compiles for neuron devices"
    assert run(["plan", str(spec)]) == 0
    assert f"pack build ends with exit code 5: it builds nothing: {reason}\n" in capsys.readouterr().out
    assert run(["build", str(spec), "--target", "edge"]) == 5
    assert reason in " ".join(capsys.readouterr().out.split())


def test_a_cpu_elsewhere_gets_job_bundles(spec: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spec.write_text(spec.read_text().replace("aws-inf2", "cpu-amd-genoa"))
    assert run(["plan", str(spec)]) == 0
    edge = capsys.readouterr().out.split("\nedge: ")[1]
    assert "exit code 5: it judges the answers here and leaves job bundles to be timed on the device\n" in edge


def test_packages_for_several_gpus_are_named(spec: Path, capsys: pytest.CaptureFixture[str]) -> None:
    l4 = '[targets.l4]\nprofile = "nvidia-l4"\n'
    spec.write_text(spec.read_text().replace("aws-inf2", "nvidia-t4") + l4 + '[combine]\nfleet = ["edge", "l4"]\n')
    assert run(["plan", str(spec)]) == 0
    assert capsys.readouterr().out.endswith("\nfleet: one repository for edge, l4, once one of them was measured\n")
    assert run(["plan", str(spec), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["combine"] == [{"name": "fleet", "targets": ["edge", "l4"]}]


def test_what_is_wrong_with_one_target_costs_the_others_nothing(spec: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spec.write_text(spec.read_text().replace("aws-inf2", "nvidia-t4") + 'optimize.precisions = ["bf16"]\n')
    assert run(["plan", "spec.toml"]) == 2
    out, err = capsys.readouterr()
    assert "\ncpu: " in out
    assert "\nedge: " not in out
    assert "target edge cannot be planned:\nspec.toml:15:23:" in err
    assert "error: [targets.edge] optimize.precisions: NVIDIA T4 (nvidia-t4) has no bf16\n" in err
    assert run(["plan", "spec.toml", "--json"]) == 2
    cpu, edge = json.loads(capsys.readouterr().out)["targets"]
    assert list(cpu) == list(edge)
    assert edge["build"]["exit_code"] == 2
    assert edge["candidates"] == []


def test_a_gpu_that_is_not_here_is_planned_for(
    spec: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(target_profiles, "find_gpu", lambda: None)
    spec.write_text(spec.read_text().replace("aws-inf2", "host-gpu"))
    assert run(["plan", str(spec)]) == 0
    out = capsys.readouterr().out
    head, end, *table = out.split("\nedge: ")[1].splitlines()
    assert head == "an NVIDIA GPU of compute capability 9.0 (none is here: this is what one would be tried on)"
    assert end.startswith("pack build ends with exit code 5: it builds nothing: there is no NVIDIA GPU here, or ")
    assert any(line.startswith("onnxruntime-cuda-fp16 ") for line in table)
    assert run(["plan", str(spec), "--json"]) == 0
    edge = json.loads(capsys.readouterr().out)["targets"][1]
    assert (edge["is_here"], edge["build"]["exit_code"]) == (False, 5)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("aws-inf2", "aws-infer2", "aws-inf2"),
        ('source = "tiny.onnx"', 'source = "other.onnx"', "other.onnx"),
    ],
    ids=["profile", "model"],
)
def test_mistakes_are_2(spec: Path, capsys: pytest.CaptureFixture[str], old: str, new: str, said: str) -> None:
    spec.write_text(spec.read_text().replace(old, new))
    assert run(["plan", str(spec)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert said in err
    assert "error: " in err


def test_what_takes_minutes_is_said(
    spec: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(VARIABLE, str(write_tensorrt_python(tmp_path / "trtpy", "10.16.1.11", 10)))
    monkeypatch.setattr(plan, "plan_target", lambda profile, base: describe_gpu(H200))
    assert run(["plan", str(spec)]) == 0
    assert "\nnote: tensorrt builds an engine for each candidate, a minute or more" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("python", "said"),
    [("trtpy", "TensorRT 8.6.0 in {folder}/trtpy builds nothing for a device elsewhere"), ("gone", "cannot be run")],
)
def test_what_became_of_the_named_tensorrt_is_said(
    spec: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], python: str, said: str
) -> None:
    monkeypatch.setattr(target_profiles, "find_gpu", lambda: None)
    write_tensorrt_python(spec.parent / "trtpy")
    monkeypatch.setenv(VARIABLE, str(spec.parent / python))
    spec.write_text(spec.read_text().replace("aws-inf2", "nvidia-l4"))
    assert run(["plan", str(spec)]) == 0
    cpu, edge = capsys.readouterr().out.split("\nedge: ")
    assert said.format(folder=spec.parent) in edge
    assert said.format(folder=spec.parent) not in cpu
