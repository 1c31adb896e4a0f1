"""Candidates become outcomes; what one does costs no other."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from driver_world import Way, World
from models import make_tiny_onnx
from packc.driver import evaluate
from packc.driver.evaluate import check_candidate
from packc.errors import DataError, Diagnostic
from packc.jobs.bundle import RUNNER
from packc.jobs.job import Job
from packc.measure.jobs import check_job
from packc.passes.lower import Lowered
from packc.samples import load_samples
from packc.tensors import ShapeCase


def test_what_fails_becomes_an_outcome_and_the_others_go_on(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluate, "JOB_TIMEOUT_S", 2.0)
    world.ways |= {fault: Way(fault=fault) for fault in ("lowering", "raise", "crash", "hang")}
    world.ways["last"] = Way()
    outcomes = world.search()
    assert list(outcomes) == ["base", "lowering", "raise", "crash", "hang", "last"]
    failures = {name: outcome.failure for name, outcome in outcomes.items() if outcome.failure}
    assert failures["lowering"] == "broken_pass: expected 6 fusions, found 5"
    assert failures["raise"] == "RuntimeError: no kernel for Attention"
    assert "SIGABRT" in failures["crash"]
    assert failures["hang"] == "no result within 2 s"
    assert outcomes["lowering"].model is None
    for name in failures:
        assert outcomes[name].measurement is None
    for name in ("base", "last"):
        measurement = outcomes[name].measurement
        assert measurement is not None
        assert [latency.case.name for latency in measurement.latencies] == ["typical", "max"]
        assert outcomes[name].quality is not None
        assert outcomes[name].answers is not None


def test_faulty_samples_are_not_a_candidates_failure(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise DataError(Diagnostic("eval.npz: 1 sample is too few"))

    monkeypatch.setattr(evaluate, "score_answers", refuse)
    with pytest.raises(DataError, match="too few"):
        world.search()


def test_finished_work_is_used_again_and_said(world: World, caplog: pytest.LogCaptureFixture) -> None:
    first = world.search()
    with caplog.at_level("INFO"):
        assert world.search() == first
    said = [message for message in caplog.messages if message.endswith(" before")]
    assert said == ["base: answers checked before", "base: timed before"]
    assert (world.checks, world.timings) == (["base"], [["base"]])


def test_other_circumstances_are_measured_anew(world: World) -> None:
    world.search(threads=2)
    world.search(threads=1)
    assert (world.checks, world.timings) == (["base"] * 2, [["base"]] * 2)
    for change in ({"device": "another machine"}, {"cases": (ShapeCase("typical", 2, None),)}):
        check_candidate(world.candidates()[0], world.make_trial(**{"threads": 2, **change}))
    assert world.checks == ["base"] * 4


def test_answers_for_another_cpu_are_asked_for_in_its_arithmetic(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def spy(*arguments: object) -> Job:
        job = check_job(*arguments)  # type: ignore[arg-type]
        asked.append(job.options.get("exact_int8", False))
        return job

    monkeypatch.setattr(evaluate, "check_job", spy)
    world.ways["small"] = Way(precision="int8")
    for exact in (False, True):
        for candidate in world.candidates():
            check_candidate(candidate, world.make_trial(exact_int8=exact))
    assert asked == [False, False, False, True]
    assert world.checks == ["base", "small", "small"]


def test_other_inputs_are_measured_anew(world: World, tmp_path: Path) -> None:
    trial = world.make_trial()
    check_candidate(world.candidates()[0], trial)
    other = tmp_path / "other.npz"
    other.write_bytes(trial.ingested.inputs.read_bytes() + b"\0")
    ingested = dataclasses.replace(trial.ingested, inputs=other)
    check_candidate(world.candidates()[0], dataclasses.replace(trial, ingested=ingested))
    check_candidate(world.candidates()[0], dataclasses.replace(trial, latency_inputs=trial.ingested.answers))
    assert world.checks == ["base"] * 3


def test_another_model_is_measured_anew(world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """External weights count: the main file is the same whatever they are."""
    model = make_tiny_onnx(tmp_path / "lowered" / "model.onnx", external_data=True)
    monkeypatch.setattr(evaluate, "lower_graph", lambda *_: Lowered(model, ()))
    world.search()
    for file in (model.with_name("model.onnx.data"), model):
        content = file.read_bytes()
        file.unlink()
        file.write_bytes(content.replace(b"matmul", b"MatMul") if file == model else content[::-1])
        world.search()
    assert (world.checks, world.timings) == (["base"] * 3, [["base"]] * 3)


def test_another_runner_measures_anew(world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    world.search()
    changed = tmp_path / "runner.py"
    changed.write_text(RUNNER["run.py"].read_text() + "\n# changed\n")
    monkeypatch.setattr(evaluate, "RUNNER", {**RUNNER, "run.py": changed})
    world.search()
    assert (world.checks, world.timings) == (["base"] * 2, [["base"]] * 2)


def test_memory_beyond_the_limit_is_a_candidates_failure(world: World) -> None:
    world.ways["base"] = Way(ms=50.0)
    failure = world.search(memory_limit_mib=1.0)["base"].failure
    assert failure is not None
    assert "above the limit of 1 MiB" in failure
    assert (world.make_trial().memory_limit_mib or 0) > 1.0


def test_what_else_lies_in_the_artifacts_folder_has_no_size(world: World) -> None:
    graph = world.ingest().source.graph
    (graph.parent / "reports.json").write_bytes(b" " * 2**20)
    measurement = world.search()["base"].measurement
    assert measurement is not None
    assert measurement.size_mib == pytest.approx(graph.stat().st_size / 2**20)


def test_a_pilot_refuses_what_is_clearly_wrong_and_leaves_the_rest_to_all_samples(world: World) -> None:
    world.ways |= {"wrong": Way(error=0.5), "close": Way(error=0.09)}
    base, wrong, close = (check_candidate(c, world.make_trial(), pilot=(0, 5, 11)) for c in world.candidates())
    assert world.checks == ["base", "base", "wrong", "close", "close"]
    assert wrong.quality is not None
    assert (wrong.quality.samples, wrong.answers) == (3, None)
    assert wrong.warnings == ("refused on 3 of 12 samples, as it is far below the bound",)
    for kept in (base, close):
        assert kept.quality is not None
        assert (kept.quality.samples, kept.warnings) == (12, ())


def test_a_pilot_has_its_own_labels(world: World) -> None:
    """The answers of sample 3 are compared with the class of sample 3, not of the first of the pilot."""
    trial = world.make_trial()
    answers = [sample["scores"] for sample in load_samples(trial.ingested.answers)]
    labels = tuple(str(int(answer.argmax())) for answer in answers)
    judged = dataclasses.replace(trial, metric="accuracy", labels=labels)
    outcome = check_candidate(world.candidates()[0], judged, pilot=(3, 7))
    assert outcome.quality is not None
    assert outcome.quality.value == 1.0


def test_a_runtime_of_this_cpu_judges_for_a_gpu_elsewhere(world: World, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    world.ways["broken"] = Way(fault="raise")
    base, broken = (
        check_candidate(dataclasses.replace(c, runtime="onnxruntime-cuda"), world.make_trial(is_here=False))
        for c in world.candidates()
    )
    assert base.candidate.runtime == "onnxruntime-cuda"
    assert base.quality is not None
    why = "not judged: the CPU of this machine cannot run it: RuntimeError: no kernel for Attention"
    assert (broken.quality, broken.failure) == (None, why)
    said = "not judged here: no kernel of this CPU for it (RuntimeError: no kernel for Attention)"
    assert any(message.endswith(said) for message in caplog.messages)
    assert not any("failed" in message for message in caplog.messages)
