from __future__ import annotations

import pytest
from pydantic import BaseModel, ValidationError

from packc.spec import model
from packc.spec.model import (
    DistillSection,
    OptimizeSection,
    QualitySection,
    Range,
    Section,
    Spec,
    Traffic,
    WorkloadOverride,
    WorkloadSection,
)


def test_sections_are_strict_closed_and_frozen() -> None:
    with pytest.raises(ValidationError):
        Range.model_validate({"typical": "1", "max": 2})
    with pytest.raises(ValidationError):
        Range.model_validate({"typical": 1, "max": 2, "min": 0})
    with pytest.raises(ValidationError, match="frozen"):
        Range(typical=1, max=2).max = 3  # type: ignore[misc]


def test_every_model_is_a_section() -> None:
    models = [kind for kind in vars(model).values() if isinstance(kind, type) and issubclass(kind, BaseModel)]
    assert all(issubclass(kind, Section) for kind in models if kind is not BaseModel)


def test_every_key_of_a_section_is_described() -> None:
    for section in (field.annotation for field in Spec.model_fields.values()):
        for name, field in getattr(section, "model_fields", {}).items():
            assert field.description, f"{section}.{name}"


def test_a_workload_override_has_the_keys_of_the_workload() -> None:
    assert set(WorkloadOverride.model_fields) == set(WorkloadSection.model_fields) > set(Traffic.model_fields)


def test_quality_takes_one_bound() -> None:
    with pytest.raises(ValidationError, match="not both"):
        QualitySection(min=0.9, max_drop=0.1)


def test_a_student_is_asked_for_by_its_layers_or_by_a_table() -> None:
    def read(value: object) -> DistillSection | None:
        return OptimizeSection.model_validate({"distill": value}).distill

    assert read(3) == DistillSection(layers=3) == DistillSection(layers=3, steps=300, max_minutes=15.0)
    assert read({"layers": 2, "steps": 50, "data": "texts.jsonl"}) == DistillSection(
        layers=2, steps=50, data="texts.jsonl"
    )
    for wrong in (0, True, "3", 3.0, {"steps": 5}, {"layers": 3, "epochs": 2}, {"layers": 3, "steps": 0}):
        with pytest.raises(ValidationError):
            read(wrong)
