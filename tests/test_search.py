"""What each step of the search lets through."""

from __future__ import annotations

from dataclasses import replace

import pytest

from packc.candidate import Candidate, PassStep, Rejection
from packc.measure.measurement import Latency, Measurement
from packc.measure.peak import GemmRate, Peaks
from packc.measure.work import Work
from packc.quality.score import QualityScore
from packc.roofline import Roofline
from packc.search import (
    Spared,
    TimeLimit,
    choose_finalists,
    choose_next,
    choose_pilot,
    find_beaten,
    is_hopeless,
    list_recalled,
    may_keep_budget,
    order_candidates,
)
from packc.select import Miss, Outcome
from packc.spec.model import BudgetSection, QualitySection, TargetSpec
from packc.spec.optimize import OptimizeSection
from packc.tensors import Precision, ShapeCase
from target_spec import target_spec

SPEC = target_spec()
INT8 = Candidate("int8", "stub", "int8", (PassStep("quantize_dynamic"),))
PLAN: tuple[tuple[str, Precision], ...] = (
    ("fp32", "fp32"), ("fp32-fused", "fp32"), ("int8", "int8"), ("int8-smooth", "int8"), ("bf16", "bf16"),
)  # fmt: skip
PERFECT = QualityScore("cosine", 1.0, 1.0, 1.0, 100, 1.0, 0.0)


def shortly(name: str, p50_ms: float, size_mib: float = 10.0) -> Outcome:
    """A candidate after its short timing."""
    latency = Latency(ShapeCase("typical", 1, None), p50_ms, p50_ms, p50_ms, 1e3 / p50_ms, 3, False, (p50_ms,) * 3)
    measurement = Measurement((latency,), 0.1, 50.0, size_mib, 2, "here", ())
    candidate = Candidate(name, "stub", "fp32", (PassStep("clean_graph"),))
    return Outcome(candidate, None, measurement, PERFECT, None, (), is_rough=True)


def names(outcomes: list[Outcome]) -> list[str]:
    return [outcome.candidate.id for outcome in outcomes]


def with_goal(spec: TargetSpec, goal: str, latency_ms: float = 0.0) -> TargetSpec:
    changes = {"optimize": OptimizeSection(goal=goal), "budget": BudgetSection(latency_ms=latency_ms)}  # type: ignore[arg-type]
    return spec.model_copy(update=changes)


def test_time_is_over_after_the_minutes_and_never_without_a_limit() -> None:
    clock = [100.0]
    limited, endless = TimeLimit(2.0, lambda: clock[0]), TimeLimit(0.0, lambda: clock[0])
    assert not limited.is_over
    clock[0] += 119.0
    assert not limited.is_over
    clock[0] += 1.0
    assert limited.is_over
    assert not endless.is_over
    rejection = limited.reject(Candidate("late", "stub", "fp32", ()))
    assert (rejection.what, rejection.reason) == (
        "late",
        "not tried: the 2 minutes of [optimize] max_minutes were over",
    )


def roofline(flops: float) -> Roofline:
    """100 GFLOP/s in fp32, twice that in int8."""
    gemm = (GemmRate("fp32", 100.0, "numpy"), GemmRate("int8", 200.0, "numpy"))
    return Roofline((ShapeCase("typical", 1, None),), (Work(flops, 0.0),), Peaks(gemm, (), 2, "measured here"))


def test_the_baseline_is_first_and_then_what_may_be_fastest() -> None:
    plan = [Candidate(name, "stub", precision, ()) for name, precision in PLAN]
    ordered = [candidate.id for candidate in order_candidates(plan, roofline(1e9))]
    assert ordered == ["fp32", "int8", "int8-smooth", "fp32-fused", "bf16"]
    assert order_candidates(plan, None) == tuple(plan)


def test_what_can_never_catch_up_is_not_tried() -> None:
    fused = Candidate("fp32-fused", "stub", "fp32", ())
    fast = replace(shortly("int8", 7.0), candidate=INT8)
    beaten = find_beaten(fused, [shortly("fp32", 15.0), fast], SPEC, roofline(1e9))
    assert beaten is not None
    assert (beaten.what, beaten.reason) == (
        "fp32-fused",
        "not tried: estimated to take 10 ms at least (100 GFLOP/s of fp32, measured here); "
        "int8 keeps the quality bound in 7 ms",
    )


def quantized(
    name: str, *, smooth: bool = False, exclude: str | tuple[str, ...] = "", runtime: str = "ort"
) -> Candidate:
    before = (PassStep("clean_graph"), *((PassStep("smooth_outliers"),) if smooth else ()))
    step = PassStep("quantize_dynamic", {"exclude": exclude} if exclude else {})
    return Candidate(name, runtime, "int8", (*before, step))


PLAIN = quantized("plain")
GENTLE = quantized("gentle", smooth=True)
GENTLER = quantized("gentler", smooth=True, exclude="ffn_down")


@pytest.mark.parametrize(("careful", "bold"), [(GENTLE, PLAIN), (GENTLER, PLAIN), (GENTLER, GENTLE)])
def test_precautions_are_not_needed_once_the_answers_are_good_without(careful: Candidate, bold: Candidate) -> None:
    judged = replace(shortly("", 9.0), candidate=bold)
    beaten = find_beaten(careful, [judged], SPEC, None)
    assert beaten is not None
    assert beaten.reason == f"not tried: {bold.id} does the same with fewer precautions, and keeps the quality bound"
    assert find_beaten(bold, [replace(judged, candidate=careful)], SPEC, None) is None
    wrong = replace(PERFECT, value=0.5, low=0.4, high=0.6)
    assert find_beaten(careful, [replace(judged, quality=wrong)], SPEC, None) is None


def test_what_was_spared_is_recalled_when_its_rival_does_not_hold() -> None:
    bold = replace(shortly("", 9.0), candidate=PLAIN)
    spared = find_beaten(GENTLE, [bold], SPEC, None)
    assert isinstance(spared, Spared)
    assert (spared.candidate, spared.rival) == (GENTLE, "plain")
    skipped = [spared, Rejection("other", "too slow")]
    assert list_recalled(skipped, [bold], SPEC) == []
    assert list_recalled(skipped, [replace(bold, served_misses=(Miss("plain", "latency_ms", 9.0, 5.0),))], SPEC) == []
    missed = replace(bold, served_misses=(Miss("plain", "quality", 0.5, 0.9),))
    for lost in (missed, replace(bold, failure="it crashed")):
        assert list_recalled(skipped, [lost], SPEC) == [spared]


def test_what_else_differs_is_tried() -> None:
    judged = [replace(shortly("", 9.0), candidate=PLAIN)]
    assert find_beaten(quantized("found", exclude=("layer 3",)), judged, SPEC, None) is None
    assert find_beaten(quantized("other", smooth=True, runtime="openvino"), judged, SPEC, None) is None
    assert find_beaten(replace(GENTLE, source="student"), judged, SPEC, None) is None
    build = PassStep("openvino", {"quantize": "full"})
    compiled = [replace(shortly("", 9.0), candidate=Candidate("c", "openvino", "int8", (), build))]
    careful = replace(build, options={**build.options, "exclude": "ffn_down"})
    assert find_beaten(Candidate("d", "openvino", "int8", (), careful), compiled, SPEC, None) is not None


def test_an_open_race_is_run() -> None:
    fused = Candidate("fp32-fused", "stub", "fp32", ())
    fast, wrong = replace(shortly("int8", 9.0), candidate=INT8), replace(PERFECT, value=0.5, low=0.4, high=0.6)
    assert find_beaten(fused, [replace(fast, quality=wrong)], SPEC, roofline(1e9)) is None
    assert find_beaten(fused, [fast], with_goal(SPEC, "latency", 5.0), roofline(1e9)) is None, "nor does that one"
    assert find_beaten(fused, [fast], with_goal(SPEC, "size"), roofline(1e9)) is None
    assert find_beaten(fused, [replace(fast, measurement=None)], SPEC, roofline(1e9)) is None
    assert find_beaten(fused, [fast], SPEC, roofline(0.9e9)) is None
    assert find_beaten(replace(fused, precision="bf16"), [fast], SPEC, roofline(1e9)) is None
    assert find_beaten(fused, [fast], SPEC, None) is None


@pytest.mark.parametrize(("share", "is_beaten"), [(0.25, True), (0.26, False)])
def test_what_may_be_done_in_fewer_multiplications_rules_nothing_out(share: float, is_beaten: bool) -> None:
    fused, fast = Candidate("fp32-fused", "stub", "fp32", ()), replace(shortly("int8", 7.0), candidate=INT8)
    windows = replace(roofline(1e9), work=(Work(1e9, 0.0, window_flops=share * 1e9),))
    assert (find_beaten(fused, [fast], SPEC, windows) is not None) is is_beaten
    assert windows.estimate_ms(fused) == 10.0, "it orders all the same"


def test_a_floor_that_something_passed_rules_nothing_out() -> None:
    fused = Candidate("fp32-fused", "stub", "fp32", ())
    impossible = replace(shortly("int8", 4.0), candidate=INT8)
    assert find_beaten(fused, [impossible], SPEC, roofline(1e9)) is None


@pytest.mark.parametrize("goal", ["latency", "throughput", "cost"])
def test_every_goal_of_speed_has_a_limit(goal: str) -> None:
    fused, fast = Candidate("fp32-fused", "stub", "fp32", ()), replace(shortly("int8", 7.0), candidate=INT8)
    assert find_beaten(fused, [fast], with_goal(SPEC, goal), roofline(1e9)) is not None
    assert find_beaten(fused, [fast], with_goal(SPEC, goal), roofline(0.85e9)) is None, "an estimate, not a proof"


def test_a_pilot_is_spread_over_the_samples() -> None:
    pilot = choose_pilot("cosine", 1000, sample_ms=10.0)
    assert len(pilot) == len(set(pilot)) == 50
    assert (pilot[0], pilot[1], pilot[-1]) == (0, 20, 980)


@pytest.mark.parametrize(
    ("metric", "samples", "sample_ms"),
    [("cosine", 1000, 1.0), ("cosine", 40, 1000.0), ("neighbour_agreement", 1000, 10.0), ("spearman", 1000, 10.0)],
)
def test_no_pilot_where_it_saves_little_or_means_something_else(metric: str, samples: int, sample_ms: float) -> None:
    assert choose_pilot(metric, samples, sample_ms) == ()  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("score", "section", "hopeless"),
    [
        (QualityScore("cosine", 0.90, 0.85, 0.95, 50, 1.0, 0.15), QualitySection(min=0.99), True),
        (QualityScore("cosine", 0.92, 0.87, 0.97, 50, 1.0, 0.13), QualitySection(min=0.99), False),
        (QualityScore("max_error", 0.5, 0.4, 0.5, 50, 0.0, 0.5), QualitySection(min=0.1), True),
        (QualityScore("max_error", 0.2, 0.1, 0.2, 50, 0.0, 0.2), QualitySection(min=0.1), False),
        (QualityScore("accuracy", 0.5, 0.4, 0.6, 50, 0.9, 0.5), QualitySection(max_drop=0.02), True),
        (QualityScore("accuracy", 0.85, 0.8, 0.9, 50, 0.9, 0.12), QualitySection(max_drop=0.02), False),
    ],
)
def test_only_the_clear_cases_are_hopeless(score: QualityScore, section: QualitySection, hopeless: bool) -> None:
    assert is_hopeless(score, section) is hopeless


def test_the_best_half_goes_on_as_far_as_it_is_near_the_best() -> None:
    field = [shortly(f"c{i}", 1.0 + 0.05 * i) for i in range(10)]
    assert names(choose_finalists(field, SPEC)) == ["c0", "c1", "c2", "c3", "c4"]
    spread = [shortly(f"c{i}", 2.0**i) for i in range(10)]
    assert names(choose_finalists(spread, SPEC)) == ["c0", "c1", "c2"]
    assert choose_finalists([], SPEC) == []


def test_the_goal_and_the_budget_rank() -> None:
    field = [shortly("small but late", 50.0, 1.0), *(shortly(f"c{i}", 1.0, 2.0 + i) for i in range(5))]
    assert names(choose_finalists(field, with_goal(SPEC, "size", latency_ms=10.0))) == ["c0", "c1", "c2"]
    assert names(choose_finalists(field, with_goal(SPEC, "size")))[0] == "small but late"


def test_a_median_over_the_budget_leaves_no_hope() -> None:
    assert may_keep_budget(shortly("a", 9.0), with_goal(SPEC, "latency", 10.0))
    assert not may_keep_budget(shortly("a", 11.0), with_goal(SPEC, "latency", 10.0))
    small = SPEC.model_copy(update={"budget": BudgetSection(size_mib=5.0)})
    assert not may_keep_budget(shortly("a", 1.0, size_mib=6.0), small)


def test_more_are_timed_only_while_nobody_keeps_every_promise() -> None:
    spec = with_goal(SPEC, "latency", 10.0)
    rest = [shortly("slow", 9.0), shortly("fast", 8.0), shortly("hopeless", 20.0)]
    failed = replace(shortly("failed", 1.0), measurement=None, failure="killed", is_rough=False)
    assert names(choose_next([failed, *rest], spec)) == ["fast", "slow"]
    assert choose_next([replace(shortly("kept", 1.0), is_rough=False), *rest], spec) == []


def test_those_without_hope_are_timed_only_where_all_others_failed() -> None:
    """So that a miss can say how far off the budget is."""
    spec, hopeless = with_goal(SPEC, "latency", 10.0), [shortly("late", 20.0), shortly("later", 30.0)]
    failed = replace(shortly("failed", 1.0), measurement=None, failure="killed", is_rough=False)
    assert names(choose_next([failed, *hopeless], spec)) == ["late", "later"]
    missed = replace(shortly("missed", 15.0), is_rough=False)
    assert choose_next([failed, missed, *hopeless], spec) == []


def test_spared_candidates_can_be_told_once() -> None:
    candidate = Candidate("b", "openvino", "int8", (PassStep("openvino", {"ffn": True}),), session={"threads": 1})
    spared = Spared("b", "a does the same", candidate, "a")
    assert list(dict.fromkeys((spared, replace(spared)))) == [spared]
