from __future__ import annotations

import pytest
from pydantic import BaseModel

from packc.spec.model import BudgetSection, Spec
from packc.target_profiles import Profile
from packc.toml.explain import _UNIT, UNITS, _hint_unknown, _model_of, label_place, suggest
from packc.toml.places import Loc


@pytest.mark.parametrize(
    ("loc", "label"),
    [
        (("budget",), "[budget]"),
        (("budget", "latency_ms"), "[budget] latency_ms"),
        (("workload", "batch", "max"), "[workload] batch.max"),
        (("targets", "edge", "workload", "batch", "max"), "[targets.edge] workload.batch.max"),
        (("optimize", "precisions", 1), "[optimize] precisions[2]"),
    ],
)
def test_places_read_like_the_file(loc: Loc, label: str) -> None:
    assert label_place(loc, Spec) == label


def test_keys_outside_sections_are_just_named() -> None:
    assert label_place(("isa", 0), Profile) == "isa[1]"
    assert label_place((), Profile) == ""


def test_suggest_prefers_a_completion() -> None:
    known = ("nvidia-a10g", "nvidia-h100-sxm")
    assert suggest("nvidia-h100", known) == 'did you mean "nvidia-h100-sxm"?'
    assert suggest("nvidia-a10", known) == 'did you mean "nvidia-a10g"?'
    assert suggest("tpu", known) is None
    assert suggest("nvidia-L4", ("nvidia-t4", "nvidia-l40s", "nvidia-l4")) == 'did you mean "nvidia-l4"?'


@pytest.mark.parametrize("model", [Spec, Profile])
def test_every_key_with_a_unit_has_words_for_it(model: type[BaseModel]) -> None:
    tables = [model, *(_model_of(field.annotation) for field in model.model_fields.values())]
    units = [_UNIT.search(key) for table in tables if table for key in table.model_fields]
    found = {unit[1] for unit in units if unit}
    assert found
    assert found <= set(UNITS)


@pytest.mark.parametrize(
    ("wrong", "right", "words"),
    [
        ("memory_gib", "memory_gb", "GB (10^9 bytes)"),
        ("bandwidth", "bandwidth_gb_s", "GB (10^9 bytes) a second"),
        ("bandwidth_gb", "bandwidth_gb_s", "GB (10^9 bytes) a second"),
        ("latency_sec", "latency_ms", "milliseconds"),
        ("throughput_qps", "throughput_per_s", "per second"),
    ],
)
def test_a_wrong_unit_leads_to_the_right_key(wrong: str, right: str, words: str) -> None:
    model = Profile if right in Profile.model_fields else BudgetSection
    assert _hint_unknown(wrong, model, model) == f'did you mean "{right}"? the unit is part of the name: {words}'
