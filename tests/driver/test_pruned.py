from __future__ import annotations

from dataclasses import replace

import pytest

from packc.candidate import Candidate
from packc.driver.pruned import add_siblings, drop_slower
from packc.measure.measurement import Latency, Measurement
from packc.select import Outcome
from packc.tensors import ShapeCase


def outcome(name: str, p50_ms: float | None, is_rough: bool = False) -> Outcome:
    measurement = None
    if p50_ms is not None:
        latency = Latency(ShapeCase("typical", 1, 32), p50_ms, p50_ms, p50_ms, 1e3 / p50_ms, 10, False, (p50_ms,))
        measurement = Measurement((latency,), 0.1, 300.0, 20.0, 2, "some CPU", ())
    candidate = Candidate(name, "stub", "fp32", ())
    return Outcome(candidate, None, measurement, None, None, (), is_rough=is_rough)


def test_a_pruned_candidate_that_is_faster_stays() -> None:
    outcomes = [outcome("fused", 2.0), outcome("fused-pruned", 1.9)]
    assert drop_slower(outcomes) == (outcomes, [])


def test_a_pruned_candidate_that_is_not_faster_is_dropped_with_the_figures() -> None:
    fused, pruned = outcome("fused", 2.0), outcome("fused-pruned", 2.0)
    stay, (rejection,) = drop_slower([fused, pruned])
    assert stay == [fused]
    assert rejection.what == "fused-pruned"
    assert rejection.reason == "pruning does not pay: p50 2 ms against 2 ms of fused"


@pytest.mark.parametrize(
    "sibling", [outcome("fused", None), outcome("fused", 1.0, is_rough=True), outcome("other", 1.0)]
)
def test_what_cannot_be_compared_stays(sibling: Outcome) -> None:
    outcomes = [sibling, outcome("fused-pruned", 2.0)]
    assert drop_slower(outcomes) == (outcomes, [])


def test_the_sibling_of_a_pruned_finalist_is_timed_beside_it() -> None:
    base, fused, pruned = outcome("base", 3.0), outcome("fused", 2.0, True), outcome("fused-pruned", 1.0, True)
    assert add_siblings([pruned], [base, fused, pruned]) == [pruned, fused]
    assert add_siblings([fused, pruned], [fused, pruned]) == [fused, pruned]
    assert add_siblings([base], [base, fused, replace(pruned)]) == [base]
