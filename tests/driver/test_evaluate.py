"""Candidates become outcomes; what one does costs no other."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from driver_world import Way, World
from models import make_tiny_onnx
from packc.driver import evaluate
from packc.driver.evaluate import check_candidate, evaluate_candidates
from packc.errors import DataError, Diagnostic
from packc.passes.lower import Lowered
from packc.select import Outcome
from packc.tensors import ShapeCase


def evaluate_all(world: World, *sections: str, **changes: object) -> dict[str, Outcome]:
    outcomes, skipped = evaluate_candidates(world.candidates(), world.make_trial(*sections, **changes))
    assert skipped == []
    return {outcome.candidate.id: outcome for outcome in outcomes}


def test_what_fails_becomes_an_outcome_and_the_others_go_on(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluate, "JOB_TIMEOUT_S", 2.0)
    world.ways |= {fault: Way(fault=fault) for fault in ("lowering", "raise", "crash", "hang")}
    world.ways["last"] = Way()
    outcomes = evaluate_all(world)
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


def test_refused_candidates_are_not_timed(world: World) -> None:
    world.ways["wrong"] = Way(error=0.5)
    wrong = evaluate_all(world)["wrong"]
    assert world.checks == ["base", "wrong"]
    assert world.timings == [["base"]]
    assert wrong.failure is None
    assert wrong.quality is not None
    assert wrong.quality.value == pytest.approx(0.5)
    assert wrong.measurement is not None, "the rough figures of its check stay"
    assert [latency.case.name for latency in wrong.measurement.latencies] == ["typical"]


def test_nothing_is_timed_when_nothing_is_kept(world: World) -> None:
    world.ways["base"] = Way(error=0.5)
    evaluate_all(world)
    assert world.timings == []


def test_faulty_samples_are_not_a_candidates_failure(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise DataError(Diagnostic("eval.npz: 1 sample is too few"))

    monkeypatch.setattr(evaluate, "score_answers", refuse)
    with pytest.raises(DataError, match="too few"):
        evaluate_all(world)


def test_finished_work_is_used_again(world: World) -> None:
    first = evaluate_all(world)
    assert evaluate_all(world) == first
    assert (world.checks, world.timings) == (["base"], [["base"]])


def test_other_circumstances_are_measured_anew(world: World) -> None:
    evaluate_all(world, threads=2)
    evaluate_all(world, threads=1)
    assert (world.checks, world.timings) == (["base"] * 2, [["base"]] * 2)
    for change in ({"device": "another machine"}, {"cases": (ShapeCase("typical", 2, None),)}):
        check_candidate(world.candidates()[0], world.make_trial(**{"threads": 2, **change}))
    assert world.checks == ["base"] * 4


def test_other_inputs_are_measured_anew(world: World, tmp_path: Path) -> None:
    trial = world.make_trial()
    evaluate_candidates(world.candidates(), trial)
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
    evaluate_all(world)
    for file in (model.with_name("model.onnx.data"), model):
        content = file.read_bytes()
        file.unlink()
        file.write_bytes(content.replace(b"matmul", b"MatMul") if file == model else content[::-1])
        evaluate_all(world)
    assert (world.checks, world.timings) == (["base"] * 3, [["base"]] * 3)


def test_a_timing_in_which_one_failed_is_not_kept(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluate, "JOB_TIMEOUT_S", 2.0)
    world.ways["stuck"] = Way(fault="hang when timed")
    outcomes = evaluate_all(world)
    assert outcomes["stuck"].failure == "no result within 2 s"
    assert outcomes["base"].failure is None
    assert {entry.kind for entry in world.cache.entries()} == {"check", "latency"}


def test_only_as_many_as_the_time_allows(world: World) -> None:
    world.ways["late"] = Way()
    outcomes, skipped = evaluate_candidates(world.candidates(), world.make_trial("[optimize]\nmax_minutes = 0.0001"))
    assert [outcome.candidate.id for outcome in outcomes] == ["base"]
    assert [(rejection.what, "max_minutes" in rejection.reason) for rejection in skipped] == [("late", True)]


def test_noisy_figures_are_used_but_not_kept(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("packc.measure.rounds.is_noisy", lambda _: True)
    for _ in range(2):
        measurement = evaluate_all(world)["base"].measurement
        assert measurement is not None
        assert measurement.latencies[0].noisy
    assert (world.checks, world.timings) == (["base"], [["base"]] * 2)


def test_another_runner_measures_anew(world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    evaluate_all(world)
    changed = tmp_path / "runner.py"
    changed.write_text(Path(str(evaluate.runner.__file__)).read_text() + "\n# changed\n")
    monkeypatch.setattr(evaluate.runner, "__file__", str(changed))
    evaluate_all(world)
    assert (world.checks, world.timings) == (["base"] * 2, [["base"]] * 2)


def test_memory_beyond_the_limit_is_a_candidates_failure(world: World) -> None:
    world.ways["base"] = Way(ms=50.0)
    failure = evaluate_all(world, memory_limit_mib=1.0)["base"].failure
    assert failure is not None
    assert "above the limit of 1 MiB" in failure
    assert (world.make_trial().memory_limit_mib or 0) > 1.0


def test_what_else_lies_in_the_artifacts_folder_has_no_size(world: World) -> None:
    graph = world.ingest().source.graph
    (graph.parent / "reports.json").write_bytes(b" " * 2**20)
    measurement = evaluate_all(world)["base"].measurement
    assert measurement is not None
    assert measurement.size_mib == pytest.approx(graph.stat().st_size / 2**20)
