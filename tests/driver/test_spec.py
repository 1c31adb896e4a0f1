"""All targets of a spec, and pack.lock."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from driver_world import HOST, World, write_tensors
from gpu_packages import change, write_measured
from packc import target_profiles
from packc.driver import spec as build_spec_module
from packc.driver.endings import BuildOptions, TargetResult
from packc.driver.spec import TargetFailure, _lock_data, build_spec
from packc.driver.target import build_target
from packc.errors import MissingError, SourceError, SpecError
from packc.package.manifest import MissRecord, VerdictRecord
from packc.package.manifest_file import read_manifest
from packc.spec.optimize import DistillSection, OptimizeSection
from packc.spec.read import read_spec
from target_spec import target_spec

TWO = HOST + '\n[targets.edge]\nprofile = "jetson-orin-nano-8gb"\n'


def build(world: World, *sections: str, targets: str = HOST, only: tuple[str, ...] = ()) -> dict[str, Any]:
    path = world.write_spec(*sections, targets=targets)
    options = BuildOptions(verify=False)
    results = build_spec(read_spec(path), path, world.folder / "build", options, world.cache, only)
    return {result.target: result for result in results}


def read_lock(world: World) -> dict[str, Any]:
    return json.loads((world.folder / "build/tiny/pack.lock").read_text())


def test_the_lock_names_the_texts_of_a_student(tmp_path: Path) -> None:
    (tmp_path / "texts.jsonl").write_text("x")
    distill = DistillSection(layers=1, data=str(tmp_path / "texts.jsonl"))
    spec = target_spec(optimize=OptimizeSection(distill=distill))
    assert [(found.role, found.location) for found in _lock_data([spec])] == [("distillation data", distill.data)]


def hash_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_the_lock_says_what_the_build_was_made_of(world: World) -> None:
    data = write_tensors(world.folder / "calib.npz", count=12)
    results = build(world, '[calibration]\ndata = "calib.npz"', targets=TWO)
    lock = read_lock(world)
    assert (lock["schema"], lock["model"]) == (1, "tiny")
    inputs = {item["role"]: item for item in lock["inputs"]}
    assert list(inputs) == ["spec", "model", "calibration data"]
    assert inputs["spec"]["sha256"] == hash_of(world.folder / "spec.toml")
    assert inputs["model"]["location"] == str(world.folder / "tiny.onnx")
    assert inputs["calibration data"] == {
        "role": "calibration data",
        "location": str(data),
        "revision": None,
        "sha256": hash_of(data),
    }
    assert {"packc", "python", "onnxruntime"} <= set(lock["versions"])
    cpu, edge = lock["targets"]
    manifest = read_manifest(world.final)
    assert (cpu["target"], cpu["profile"], cpu["candidate"], cpu["runtime"], cpu["precision"]) == (
        "cpu", "host", "base", "onnxruntime", "fp32",
    )  # fmt: skip
    assert (cpu["build_key"], cpu["files"]) == (manifest.build_key, manifest.files)
    assert manifest.serving is not None
    assert (cpu["instances"], cpu["threads"]) == (manifest.serving.instances, manifest.serving.threads)
    assert (edge["target"], edge["candidate"], edge["threads"], edge["files"]) == ("edge", None, None, {})
    assert [result.end for result in results.values()] == ["published", "planned"]


def test_an_unchanged_build_leaves_the_lock_as_it_was(world: World) -> None:
    build(world)
    before = read_lock(world)
    assert build(world)["cpu"].end == "unchanged"
    assert read_lock(world) == before


def test_nothing_published_means_no_candidate_in_the_lock(world: World) -> None:
    assert build(world, "[budget]\nlatency_ms = 0.0001")["cpu"].end == "budget_missed"
    (target,) = read_lock(world)["targets"]
    assert (target["candidate"], target["files"]) == (None, {})


def test_a_target_that_cannot_be_built_costs_only_itself(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail_edge(inputs: Any, *rest: Any) -> TargetResult:
        if inputs.spec.target == "edge":
            raise MissingError("no such device")
        return build_target(inputs, *rest)

    monkeypatch.setattr(build_spec_module, "build_target", fail_edge)
    results = build(world, targets='[targets.edge]\nprofile = "host"\n' + HOST)
    assert list(results) == ["edge", "cpu"]
    assert isinstance(results["edge"], TargetFailure)
    assert results["edge"].error.exit_code == 5
    assert results["cpu"].end == "published"
    assert [target["target"] for target in read_lock(world)["targets"]] == ["cpu"]


def test_a_gpu_that_is_not_here_costs_only_its_own_target(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(target_profiles, "find_gpu", lambda: None)
    results = build(world, targets='[targets.gpu]\nprofile = "host-gpu"\n' + HOST)
    assert isinstance(results["gpu"], TargetFailure)
    assert results["gpu"].error.exit_code == 5
    assert results["cpu"].end == "published"


def test_no_lock_when_no_target_could_be_built(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise MissingError("no such device")

    monkeypatch.setattr(build_spec_module, "build_target", fail)
    assert isinstance(build(world)["cpu"], TargetFailure)
    assert not (world.folder / "build").exists()


def test_only_the_targets_that_were_asked_for(world: World) -> None:
    assert list(build(world, targets=TWO, only=("edge",))) == ["edge"]
    assert not world.final.exists()


def test_what_concerns_all_targets_is_raised(world: World) -> None:
    with pytest.raises(SpecError, match="unknown target"):
        build(world, targets='[targets.cpu]\nprofile = "no-such-device"\n')
    (world.folder / "tiny.onnx").write_bytes(b"not a model")
    with pytest.raises(SourceError):
        build(world)
    assert not (world.folder / "build").exists()


def test_a_missed_build_leaves_the_lock_of_the_package_that_stays(world: World) -> None:
    build(world)
    before = read_lock(world)["targets"]
    assert before[0]["candidate"] == "base"
    assert build(world, "[budget]\nlatency_ms = 0.0001")["cpu"].end == "budget_missed"
    assert read_lock(world)["targets"] == before


def test_a_bug_in_one_target_costs_only_that_target(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def stumble(inputs: Any, *rest: Any) -> TargetResult:
        if inputs.spec.target == "edge":
            raise KeyError("input_ids")
        return build_target(inputs, *rest)

    monkeypatch.setattr(build_spec_module, "build_target", stumble)
    results = build(world, targets=HOST + '[targets.edge]\nprofile = "host"\n')
    assert results["cpu"].end == "published"
    assert results["edge"].error.exit_code == 1
    assert "KeyError('input_ids')" in str(results["edge"].error)
    assert [target["target"] for target in read_lock(world)["targets"]] == ["cpu"]


def test_making_room_spares_what_another_build_may_be_reading(world: World) -> None:
    world.cache.cap_gib = 0
    build(world)
    assert world.cache.entries()


GPUS = HOST + '[targets.h200]\nprofile = "nvidia-h200-sxm"\n[targets.l4]\nprofile = "nvidia-l4"\n'
FLEET = '[combine]\nfleet = ["h200", "l4"]\n'


def test_targets_are_combined_once_they_are_built(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """As if builds on the GPUs had left their packages."""
    folder = world.folder / "build" / "tiny"

    def build_gpu(inputs: Any, final: Path, *rest: Any) -> TargetResult:
        if inputs.target.kind == "cpu":
            return build_target(inputs, final, *rest)
        if not final.is_dir():
            write_measured(folder, inputs.spec.target, 2.0 if inputs.spec.target == "h200" else 3.0)
        return TargetResult(inputs.spec.target, "published", final, read_manifest(final))

    monkeypatch.setattr(build_spec_module, "build_target", build_gpu)
    results = build(world, FLEET, targets=GPUS)
    assert list(results) == ["cpu", "h200", "l4", "fleet"]
    assert (results["fleet"].end, results["fleet"].folder) == ("published", folder / "fleet")
    fleet = read_lock(world)["targets"][-1]
    assert (fleet["target"], "model_repository/tiny/1/model.l4.onnx" in fleet["files"]) == ("fleet", True)
    assert list(build(world, FLEET, targets=GPUS, only=("cpu",))) == ["cpu"], "nothing of it was built"
    assert [target["target"] for target in read_lock(world)["targets"]] == ["cpu", "h200", "l4", "fleet"]


def test_one_artifact_alone_and_a_missed_budget_are_warned_about_each_time(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    package = write_measured(world.folder / "build" / "tiny", "h200", 2.0)
    misses = (MissRecord("onnxruntime-cuda-fp16-fused", "latency_ms", 4.0, 1.0),)
    change(package, verdict=VerdictRecord(False, misses[0].candidate, ("budget missed",), misses))
    told = ["fleet: the package has the artifact of h200 alone (l4: there is no build of it yet)",
            "fleet: h200 misses its budget (latency_ms)"]  # fmt: skip

    def recall(inputs: Any, final: Path, *_: Any) -> TargetResult:
        return TargetResult(inputs.spec.target, "unchanged", final, read_manifest(final))

    monkeypatch.setattr(build_spec_module, "build_target", recall)
    for end in ("published", "unchanged"):
        caplog.clear()
        assert build(world, FLEET, targets=GPUS, only=("h200",))["fleet"].end == end
        assert [record.message for record in caplog.records if record.levelname == "WARNING"] == told


def test_what_cannot_be_combined_is_said_before_anything_is_built(world: World) -> None:
    targets = HOST + '[targets.l4]\nprofile = "nvidia-l4"\n[combine]\nfleet = ["cpu", "l4"]\n'
    with pytest.raises(SpecError, match=r"\[combine\] fleet: cpu is .*, a cpu device"):
        build(world, targets=targets, only=("l4",))
    assert not (world.folder / "build").exists()


def test_a_precision_that_one_target_lacks_costs_that_target(world: World) -> None:
    targets = HOST + '[targets.t4]\nprofile = "nvidia-t4"\noptimize.precisions = ["bf16"]\n'
    results = build(world, targets=targets)
    assert results["cpu"].end == "published"
    assert results["t4"].error.exit_code == 2
    (mistake,) = results["t4"].error.diagnostics
    assert mistake.span.text == 'optimize.precisions = ["bf16"]'


def refuse_gpus(inputs: Any, *rest: Any) -> TargetResult:
    if inputs.target.kind != "cpu":
        raise MissingError("no such device")
    return build_target(inputs, *rest)


def test_a_bug_in_combining_costs_only_the_combined_package(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> TargetResult:
        raise ZeroDivisionError("in combining")

    monkeypatch.setattr(build_spec_module, "combine_targets", fail)
    monkeypatch.setattr(build_spec_module, "build_target", refuse_gpus)
    results = build(world, FLEET, targets=GPUS)
    assert results["cpu"].end == "published"
    assert isinstance(results["fleet"], TargetFailure)
    assert "this is a bug in pack: ZeroDivisionError" in str(results["fleet"].error)
    assert [target["target"] for target in read_lock(world)["targets"]] == ["cpu"]
