from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from driver_world import Way, World, make_candidate
from packc.cache import Cache
from packc.driver import distill
from packc.driver.distill import distill_plan
from packc.driver.inputs import BuildInputs
from packc.errors import DataError, Diagnostic, SourceError
from packc.ingest.distill import Distilled
from packc.ingest.student import Training
from packc.plan import Plan
from packc.samples import RawSamples
from packc.spec.optimize import DistillSection

BASE = make_candidate("base", Way())
STUDENT = dataclasses.replace(BASE, id="student1-base", source="student")
PLAN = Plan((BASE, STUDENT), ())


def make_inputs(world: World) -> BuildInputs:
    """As of a spec that asks for a student; the world's own model, of tensors, can have none."""
    found = world.gather()
    optimize = found.spec.optimize.model_copy(update={"distill": DistillSection(layers=1)})
    spec = found.spec.model_copy(update={"optimize": optimize})
    return dataclasses.replace(found, spec=spec, lessons=RawSamples("texts.jsonl", texts=("a",)))


def stand_in(patch: pytest.MonkeyPatch, error: Exception | None, world: World) -> list[DistillSection]:
    asked: list[DistillSection] = []

    def make(info: object, section: DistillSection, texts: RawSamples, cache: Cache) -> Distilled:
        asked.append(section)
        if error:
            raise error
        return Distilled(world.ingest().source, Training(1, 2, 5, 1, 1.0, 0.5, 1.0, texts.origin, 5))

    patch.setattr(distill, "distill_student", make)
    return asked


def test_a_plan_without_students_trains_none(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = stand_in(monkeypatch, None, world)
    assert distill_plan(Plan((BASE,), ()), make_inputs(world), world.cache) == (Plan((BASE,), ()), None)
    assert distill_plan(PLAN, world.gather(), world.cache) == (PLAN, None)
    assert asked == []


def test_a_plan_with_students_has_one_trained(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = stand_in(monkeypatch, None, world)
    plan, distilled = distill_plan(PLAN, make_inputs(world), world.cache)
    assert plan == PLAN
    assert distilled is not None
    assert distilled.training.data == "texts.jsonl"
    assert asked == [DistillSection(layers=1)]
    found = dataclasses.replace(world.ingest(), student=distilled.source)
    assert found.find_source(STUDENT) is distilled.source
    assert found.find_source(BASE) is found.source


def test_a_training_that_fails_costs_its_candidates_alone(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(monkeypatch, SourceError("no list of 2 layers"), world)
    plan, distilled = distill_plan(PLAN, make_inputs(world), world.cache)
    assert distilled is None
    assert plan.candidates == (BASE,)
    assert [(r.what, r.reason) for r in plan.rejected] == [("student1", "not distilled: no list of 2 layers")]


def test_bad_texts_are_the_users_own_fault(world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    stand_in(monkeypatch, DataError(Diagnostic("texts.jsonl: sample 3")), world)
    with pytest.raises(DataError, match="sample 3"):
        distill_plan(PLAN, make_inputs(world), world.cache)
