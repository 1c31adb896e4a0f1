from __future__ import annotations

import pytest
from pydantic import ValidationError

from packc.spec.model import Range, Spec
from packc.spec.resolve import resolve_targets

COMMON = {
    "model": {"name": "m", "source": "owner/m"},
    "workload": {"sequence": {"typical": 32, "max": 256}, "concurrency": 8},
    "budget": {"latency_ms": 15.0, "size_mib": 100.0},
    "quality": {"min": 0.9, "metric": "cosine"},
}


def resolve(**overrides: object) -> object:
    spec = Spec.model_validate({**COMMON, "targets": {"edge": {"profile": "host", **overrides}}})
    return resolve_targets(spec)[0]


def test_without_overrides_a_target_has_the_common_values() -> None:
    spec = Spec.model_validate({**COMMON, "targets": {"a": {"profile": "host"}, "b": {"profile": "nvidia-l4"}}})
    first, second = resolve_targets(spec)
    assert (first.target, second.target, second.profile) == ("a", "b", "nvidia-l4")
    assert first.budget == second.budget == spec.budget
    assert first.workload == spec.workload


def test_overrides_change_their_key_alone() -> None:
    edge = resolve(budget={"latency_ms": 40.0}, workload={"sequence": {"max": 64}})
    assert edge.budget.latency_ms == 40.0
    assert edge.budget.size_mib == 100.0
    assert edge.workload.sequence == Range(typical=32, max=64)
    assert edge.workload.concurrency == 8


def test_an_override_may_restore_a_default() -> None:
    assert resolve(budget={"size_mib": 0.0}).budget.size_mib == 0.0


def test_a_range_that_is_not_common_must_be_whole() -> None:
    assert resolve(workload={"batch": {"max": 2}}).workload.batch == Range(typical=1, max=2)
    bare = Spec.model_validate(
        {**COMMON, "workload": {}, "targets": {"a": {"profile": "host", "workload": {"sequence": {"max": 9}}}}}
    )
    with pytest.raises(ValidationError, match="typical"):
        resolve_targets(bare)


def test_one_bound_replaces_the_other() -> None:
    quality = resolve(quality={"max_drop": 0.01}).quality
    assert (quality.min, quality.max_drop, quality.metric) == (None, 0.01, "cosine")
