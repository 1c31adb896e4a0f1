from __future__ import annotations

import pytest
from pydantic import ValidationError

from packc.spec.optimize import DistillSection, OptimizeSection, TensorRtSection


def test_every_key_of_a_table_within_is_described() -> None:
    for section in (DistillSection, TensorRtSection):
        for name, field in section.model_fields.items():
            assert field.description, f"{section}.{name}"


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
