from __future__ import annotations

import pytest
from pydantic import ValidationError

from packc.spec.model import QualitySection, Spec, Traffic, WorkloadOverride, WorkloadSection


def test_every_key_of_a_section_is_described() -> None:
    for section in (field.annotation for field in Spec.model_fields.values()):
        for name, field in getattr(section, "model_fields", {}).items():
            assert field.description, f"{section}.{name}"


def test_a_workload_override_has_the_keys_of_the_workload() -> None:
    assert set(WorkloadOverride.model_fields) == set(WorkloadSection.model_fields) > set(Traffic.model_fields)


def test_quality_takes_one_bound() -> None:
    with pytest.raises(ValidationError, match="not both"):
        QualitySection(min=0.9, max_drop=0.1)
