from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from driver_world import World
from packc.candidate import Candidate, PassStep
from packc.driver import mixed
from packc.driver.evaluate import Trial
from packc.driver.mixed import (
    MOST_CHECKS,
    choose_base,
    choose_count,
    is_plain,
    keep_layers,
    list_kept,
    propose_mixed,
)
from packc.measure.measurement import Latency, Measurement
from packc.passes.lower import LoweringError
from packc.passes.sensitivity import LayerSensitivity, Sensitivity, predict_errors, rank_layers
from packc.quality.score import QualityScore
from packc.select import Outcome
from packc.spec.model import QualitySection
from packc.tensors import Precision, ShapeCase

SMOOTH = PassStep("smooth_outliers")
LAYERS = tuple(LayerSensitivity(f"layer{i}", "other", None, 0.03 * 0.9**i, 1 / 24) for i in range(24))
RANKED = rank_layers(LAYERS)
ERRORS = predict_errors(RANKED)
COSTS = [count / 24 for count in range(25)]
BOUND = 0.9


def make_trial(world: World, bound: float = BOUND) -> Trial:
    trial = world.make_trial()
    quality = QualitySection(metric="neighbour_agreement", min=bound)
    return replace(trial, spec=trial.spec.model_copy(update={"quality": quality}))


def make_outcome(
    name: str, value: float | None, *steps: PassStep, precision: Precision = "int8", ms: float = 2.0
) -> Outcome:
    runtime, _ = name.split("-", 1)
    candidate = Candidate(name, runtime, precision, steps)
    score = None if value is None else QualityScore("neighbour_agreement", value + 0.01, value, value + 0.02, 200, 1, 0)
    case = ShapeCase("typical", 1, 32)
    measurement = Measurement((Latency(case, ms, ms, ms, 1e3 / ms, 10, False, ()),), 0.1, 100.0, 20.0, 2, "here", ())
    return Outcome(candidate, None, measurement, score, None if score else "it broke", (), is_rough=True)


PLAIN = make_outcome("onnxruntime-int8-dynamic-smooth", 0.86, SMOOTH, PassStep("quantize_dynamic"))
FLOAT = make_outcome("onnxruntime-fp32", 1.0, precision="fp32")


def search(judge: Callable[[float], float], ceiling: float = 0.1) -> dict[int, float]:
    """Layers kept -> margin of each check, with a gate that goes by the error that is left."""
    tried = {0: judge(ERRORS[0])}
    while (count := choose_count(ERRORS, COSTS, tried, ceiling)) is not None:
        assert count not in tried
        tried[count] = judge(ERRORS[count])
    return tried


@pytest.mark.parametrize("needed", [1, 2, 5, 11, 17, 23])
@pytest.mark.parametrize("power", [1.0, 2.0, 0.5])
def test_the_least_number_that_keeps_the_bound_is_found(needed: int, power: float) -> None:
    """Whatever the law by which quality falls with the error: in a few checks, at most two layers above the least."""
    limit = (ERRORS[needed] + ERRORS[needed - 1]) / 2
    tried = search(lambda error: 0.1 * (1 - (error / limit) ** power))
    assert len(tried) <= MOST_CHECKS + 1
    kept = min(count for count, margin in tried.items() if margin >= 0)
    assert needed <= kept <= needed + 2
    if power == 1.0:
        assert kept == needed


def test_a_little_more_int8_is_not_worth_a_check() -> None:
    costs = [count * 0.001 for count in range(25)]
    assert choose_count(ERRORS, costs, {0: -0.05, 8: 0.01}, 0.1) is None
    assert choose_count(ERRORS, COSTS, {0: -0.05, 8: 0.01}, 0.1) is not None


def test_a_gate_that_nothing_passes_ends_the_search() -> None:
    tried = search(lambda error: -0.01)
    assert len(tried) <= MOST_CHECKS + 1


def test_one_layer_leaves_nothing_to_choose() -> None:
    assert choose_count([0.1, 0.0], [0.0, 1.0], {0: -0.1}, 0.1) is None


def test_the_base_is_the_nearest_and_of_equals_the_fastest(world: World) -> None:
    step = PassStep("quantize_dynamic")
    far = make_outcome("onnxruntime-a", 0.80, step, ms=0.5)
    near = make_outcome("onnxruntime-b", 0.861, step, ms=3.0)
    alike = make_outcome("onnxruntime-c", 0.856, step, ms=1.0)
    assert choose_base([far, near, alike, FLOAT], make_trial(world)) is alike


def test_where_an_int8_recipe_keeps_the_bound_there_is_nothing_to_mend(world: World) -> None:
    good = make_outcome("onnxruntime-b", 0.92, PassStep("quantize_dynamic"))
    assert propose_mixed([FLOAT, PLAIN, good], make_trial(world)) == []
    assert propose_mixed([FLOAT], make_trial(world)) == []


def test_proposals_follow_what_became_of_the_last_one(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mixed, "measure_base", lambda base, trial: Sensitivity(LAYERS, 16))
    trial, outcomes = make_trial(world), [FLOAT, PLAIN]
    while proposed := propose_mixed(outcomes, trial):
        (candidate,) = proposed
        count = len(list_kept(candidate))
        assert candidate.id == f"onnxruntime-int8-mixed-{count}"
        assert list_kept(candidate) == tuple(layer.name for layer in RANKED[:count])
        outcomes.append(make_outcome(candidate.id, 1 - 0.14 * ERRORS[count] / ERRORS[0], *candidate.passes))
    tried = {len(list_kept(outcome.candidate)): outcome.quality for outcome in outcomes[2:]}
    least = next(count for count, error in enumerate(ERRORS) if 1 - 0.14 * error / ERRORS[0] >= BOUND)
    assert least in tried
    assert len(tried) <= MOST_CHECKS


def test_a_mixed_candidate_that_fails_counts_as_a_miss(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mixed, "measure_base", lambda base, trial: Sensitivity(LAYERS, 16))
    first = propose_mixed([FLOAT, PLAIN], make_trial(world))[0]
    broken = make_outcome(first.id, None, *first.passes)
    second = propose_mixed([FLOAT, PLAIN, broken], make_trial(world))[0]
    assert len(list_kept(second)) > len(list_kept(first))


def test_a_bound_that_fp32_misses_is_not_searched_for(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mixed, "measure_base", lambda base, trial: pytest.fail("there is nothing to measure"))
    assert propose_mixed([make_outcome("onnxruntime-fp32", 0.89, precision="fp32"), PLAIN], make_trial(world)) == []
    assert propose_mixed([PLAIN], make_trial(world, bound=1.0)) == []


def test_a_measurement_that_fails_costs_only_the_mixed_candidates(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise LoweringError("no memory")

    monkeypatch.setattr(mixed, "lower_graph", fail)
    caplog.set_level("INFO")
    assert propose_mixed([FLOAT, PLAIN], make_trial(world)) == []
    assert "no mixed precision: no memory" in caplog.text


def test_layers_are_kept_in_the_step_that_quantizes() -> None:
    plain = Candidate("a", "onnxruntime", "int8", (SMOOTH, PassStep("quantize_dynamic", {"reduce_range": True})))
    kept = keep_layers(plain, ("x", "y"))
    assert [str(step) for step in kept.passes] == ["smooth_outliers", "quantize_dynamic[exclude=x+y,reduce_range=True]"]
    full = PassStep("openvino", {"precision": "bf16", "quantize": "full"})
    compiled = keep_layers(Candidate("b", "openvino", "int8", (SMOOTH,), full), ("x",))
    assert (compiled.id, str(compiled.build)) == ("openvino-int8-mixed-1", f"openvino[exclude=x,{str(full)[9:]}")
    assert list_kept(compiled) == ("x",)
    assert compiled.passes == (SMOOTH,)


def test_only_what_quantizes_all_activations_is_plain() -> None:
    def make(step: PassStep, build: PassStep | None = None) -> Candidate:
        return Candidate("a", "r", "int8", (step,), build)

    assert is_plain(make(PassStep("quantize_dynamic")))
    assert not is_plain(replace(make(PassStep("quantize_dynamic")), source="student"))
    assert is_plain(make(SMOOTH, PassStep("openvino", {"quantize": "full"})))
    assert not is_plain(make(SMOOTH, PassStep("openvino", {"quantize": "weights"})))
    assert not is_plain(make(PassStep("quantize_dynamic", {"exclude": "ffn_down"})))
    assert not is_plain(make(SMOOTH))


def test_a_compiled_candidate_is_measured_on_a_smoothed_graph(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[object] = []

    class Graph:
        model = Path("model.onnx")

    monkeypatch.setattr(mixed, "lower_graph", lambda source, steps, *_: seen.append(steps) or Graph())
    monkeypatch.setattr(mixed, "measure_sensitivity", lambda *args, **_: seen.append(args[3]) or Sensitivity((), 1))
    clean = PassStep("clean_graph")
    step = PassStep("openvino", {"quantize": "full", "overflow_fix": True})
    base = Candidate("openvino-int8", "openvino", "int8", (clean,), step)
    mixed.measure_base(replace(PLAIN, candidate=base), make_trial(world))
    assert seen == [(clean, SMOOTH), {"reduce_range": True}]
