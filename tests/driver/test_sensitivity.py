from __future__ import annotations

import pytest

from driver_world import World
from packc.candidate import Candidate, PassStep
from packc.driver import sensitivity
from packc.driver.sensitivity import find_sensitivity, record_sensitivity
from packc.passes.sensitivity import LayerSensitivity, Sensitivity
from packc.select import Outcome
from packc.tensors import Precision

FOUND = Sensitivity(
    (LayerSensitivity("k", "attention key", 0, 0.02, 0.2), LayerSensitivity("d", "ffn down", 0, 0.01, 0.8)), 16
)


def make_outcome(name: str, *steps: PassStep, precision: Precision = "int8") -> Outcome:
    return Outcome(Candidate(name, "onnxruntime", precision, steps), None, None, None, None, ())


def list_kept(*steps: PassStep, precision: Precision = "int8") -> list[str]:
    record = record_sensitivity({"onnxruntime": FOUND}, [make_outcome("a", *steps, precision=precision)], "a")
    assert record is not None
    assert (record.runtime, record.samples) == ("onnxruntime", 16)
    return [layer.name for layer in record.layers if layer.is_kept]


def test_the_record_says_what_the_chosen_candidate_keeps() -> None:
    assert list_kept(PassStep("quantize_dynamic", {"exclude": ("k",)})) == ["k"]
    assert list_kept(PassStep("quantize_dynamic", {"exclude": "ffn_down"})) == ["d"]
    assert list_kept(PassStep("quantize_dynamic")) == []
    assert list_kept(precision="fp32") == ["k", "d"]


def test_without_a_choice_nothing_is_kept() -> None:
    record = record_sensitivity({"openvino": FOUND}, [make_outcome("a")], None)
    assert record is not None
    assert (record.runtime, [layer.is_kept for layer in record.layers]) == ("openvino", [False, False])
    assert record_sensitivity({}, [make_outcome("a")], "a") is None


def test_only_what_mixed_candidates_rest_on_is_looked_up(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    base, trial = make_outcome("base"), world.make_trial()
    monkeypatch.setattr(sensitivity, "choose_base", lambda outcomes, trial: base)
    monkeypatch.setattr(sensitivity, "measure_base", lambda outcome, trial: FOUND if outcome is base else None)
    assert find_sensitivity([base], trial) == {}
    assert find_sensitivity([base, make_outcome("onnxruntime-int8-mixed-3")], trial) == {"onnxruntime": FOUND}
