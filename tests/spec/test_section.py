from __future__ import annotations

import pytest
from pydantic import BaseModel, ValidationError

from packc.spec import model, optimize
from packc.spec.model import Range
from packc.spec.section import Section


def test_sections_are_strict_closed_and_frozen() -> None:
    with pytest.raises(ValidationError):
        Range.model_validate({"typical": "1", "max": 2})
    with pytest.raises(ValidationError):
        Range.model_validate({"typical": 1, "max": 2, "min": 0})
    with pytest.raises(ValidationError, match="frozen"):
        Range(typical=1, max=2).max = 3  # type: ignore[misc]


def test_every_model_is_a_section() -> None:
    kinds = [*vars(model).values(), *vars(optimize).values()]
    models = [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)]
    assert all(issubclass(kind, Section) for kind in models if kind is not BaseModel)
