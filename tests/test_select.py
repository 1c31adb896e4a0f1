from __future__ import annotations

from dataclasses import replace

import pytest

from packc.candidate import Candidate, PassStep
from packc.measure.measurement import Latency, Measurement
from packc.quality.score import QualityScore
from packc.select import NOT_RUN, Miss, Outcome, classify, select
from packc.spec.model import BudgetSection, QualitySection
from packc.spec.optimize import Goal, OptimizeSection
from packc.tensors import ShapeCase
from target_spec import target_spec


def score(low: float, value: float | None = None) -> QualityScore:
    value = low + 0.01 if value is None else value
    return QualityScore("neighbour_agreement", value, low, value + 0.01, 200, 1.0, 1.0 - low)


def outcome(
    name: str,
    p50_ms: float = 2.0,
    low: float = 0.95,
    size_mib: float = 23.0,
    per_s: float | None = None,
    threads: int = 2,
    noisy: bool = False,
    calls: int = 300,
) -> Outcome:
    """A candidate whose calls take `p50_ms`, every 50th three times that; "fp32" is the model as exported."""
    times_ms = tuple(p50_ms * (3 if i % 50 == 49 else 1) for i in range(calls))
    case = ShapeCase("typical", 1, 32)
    throughput = per_s or 1e3 / p50_ms
    latency = Latency(case, p50_ms, 3 * p50_ms, p50_ms, throughput, calls, noisy, times_ms, 0.0)
    measurement = Measurement((latency,), 0.1, 300.0, size_mib, threads, "some CPU", ())
    passes = () if name == "fp32" else (PassStep("quantize"),)
    return Outcome(Candidate(name, "stub", "int8", passes), None, measurement, score(low), None, ())


def failed(name: str, why: str) -> Outcome:
    return replace(outcome(name), measurement=None, quality=None, failure=why)


BUDGET = target_spec(BudgetSection(latency_ms=15), QualitySection(min=0.9))


def goal(name: Goal) -> OptimizeSection:
    return OptimizeSection(goal=name)


def test_the_fastest_that_keeps_its_promises_is_chosen() -> None:
    verdict = select(
        [outcome("fp32", 4.8, 0.999), outcome("int8", 1.93, 0.902), outcome("int4", 1.0, 0.7)], BUDGET, False
    )
    assert (verdict.met, verdict.chosen, verdict.missed, verdict.misses) == (True, "int8", None, ())
    assert verdict.reasons == (
        "budget met: p99 5.79 ms of 15 ms (batch 1, 32 tokens, 2 threads)",
        "quality kept: neighbour_agreement 0.912 (95 % interval 0.902 to 0.922), bound at least 0.9",
        "fastest of 2 that keep every promise: p50 1.93 ms, then fp32 (p50 4.8 ms)",
        "2.5 x the speed of fp32, the model as exported: p50 1.93 ms against 4.8 ms",
    )


def test_a_choice_that_was_made_elsewhere_says_why() -> None:
    quick, slow = outcome("int8", 1.93, 0.902), outcome("fp32", 4.8, 0.999)
    verdict = select([quick, slow], BUDGET, False, [slow], "better as served than int8")
    assert (verdict.met, verdict.chosen) == (True, "fp32")
    assert "better as served than int8: p50 4.8 ms" in verdict.reasons
    assert not any("left" in reason for reason in verdict.reasons)


def test_within_the_noise_the_better_answers_win() -> None:
    verdict = select(
        [outcome("quick", 2.0, 0.91), outcome("good", 2.03, 0.99), outcome("slow", 2.1, 0.999)], BUDGET, False
    )
    assert verdict.chosen == "good"
    assert verdict.reasons[-1] == "p50 2.03 ms: as good as quick (p50 2 ms) within 2 %, with the better answers"


def test_errors_are_better_when_smaller() -> None:
    spec = target_spec(quality=QualitySection(min=1.0))
    coarse, fine = (
        replace(outcome(name, ms), quality=QualityScore("max_error", e, e, e, 200, 0.0, e))
        for name, ms, e in (("coarse", 2.0, 0.5), ("fine", 2.01, 0.1))
    )
    assert select([coarse, fine], spec, False).chosen == "fine"


@pytest.mark.parametrize(
    ("name", "chosen", "reason"),
    [
        ("latency", "a", "fastest of 3 that keep every promise: p50 2 ms, then b (p50 3 ms)"),
        ("throughput", "b", "highest throughput of 3 that keep every promise: 900 samples/s, then a (500 samples/s)"),
        ("size", "c", "smallest of 3 that keep every promise: 10 MiB, then a (23 MiB)"),
        ("cost", "b", "cheapest of 3 that keep every promise: 3 core-ms a sample, then a (4 core-ms a sample)"),
    ],
)
def test_the_goal_decides(name: Goal, chosen: str, reason: str) -> None:
    outcomes = [
        outcome("a", 2.0),
        outcome("b", 3.0, per_s=900, threads=1, size_mib=40),
        outcome("c", 4.0, size_mib=10),
    ]
    verdict = select(outcomes, target_spec(optimize=goal(name)), False)
    assert verdict.chosen == chosen
    assert verdict.reasons[2] == reason


def test_doubts_and_caveats_are_said() -> None:
    verdict = select([outcome("only", noisy=True, calls=60)], BUDGET, generated=True)
    assert verdict.reasons[2:] == (
        "the only candidate that keeps every promise: p50 2 ms",
        "timing was noisy: the medians of its rounds differ by more than 10 %",
        "p99 rests on 60 calls only",
        "quality was judged on generated inputs only",
    )
    assert select([outcome("only")], target_spec(), False).reasons[0] == "no budget was set"
    verdict = select([outcome("only"), replace(outcome("behind", 9.0), is_rough=True)], BUDGET, False)
    assert verdict.reasons[2] == "the only candidate timed for long that keeps every promise: p50 2 ms"


def test_a_missed_budget_names_the_three_nearest() -> None:
    spec = target_spec(BudgetSection(latency_ms=5, size_mib=20), QualitySection(min=0.9))
    outcomes = [
        outcome("a", 3.0, size_mib=10),
        outcome("b", 2.0, size_mib=30),
        outcome("c", 1.0, size_mib=90),
        outcome("d", 1.7, size_mib=21),
        outcome("bad", 1.0, 0.5),
        failed("e", "killed by SIGSEGV (Segmentation fault)"),
    ]
    behind = select([*outcomes, replace(outcome("f"), is_rough=True)], spec, False)
    assert behind.reasons[0] == (
        "budget missed: 5 candidates keep the quality bound, none of the 4 that were timed for long the budget"
    )
    verdict = select(outcomes, spec, False)
    assert (verdict.met, verdict.chosen, verdict.missed) == (False, None, "budget")
    assert verdict.reasons == (
        "budget missed: 4 candidates keep the quality bound, none the budget",
        "nearest: d: p99 5.1 ms of 5 ms, 2 % over; 21 MiB on disk of 20 MiB, 5 % over",
        "nearest: b: p99 6 ms of 5 ms, 20 % over; 30 MiB on disk of 20 MiB, 50 % over",
        "nearest: a: p99 9 ms of 5 ms, 80 % over",
        "e failed: killed by SIGSEGV (Segmentation fault)",
    )
    assert [(miss.candidate, miss.promise) for miss in verdict.misses] == [
        ("d", "latency_ms"),
        ("d", "size_mib"),
        ("b", "latency_ms"),
        ("b", "size_mib"),
        ("a", "latency_ms"),
    ]
    assert verdict.misses[0].ratio == pytest.approx(1.02)


def test_a_missed_quality_comes_before_any_budget() -> None:
    refused = replace(outcome("unmeasured", low=0.88), measurement=None)
    verdict = select([outcome("a", low=0.7), refused, outcome("c", 90.0, low=0.8)], BUDGET, True)
    assert (verdict.met, verdict.missed) == (False, "quality")
    assert verdict.reasons == (
        "quality missed: no candidate reaches neighbour_agreement at least 0.9",
        "nearest: unmeasured: neighbour_agreement 0.89 (95 % interval 0.88 to 0.9), off by 0.02",
        "nearest: c: neighbour_agreement 0.81 (95 % interval 0.8 to 0.82), off by 0.1",
        "nearest: a: neighbour_agreement 0.71 (95 % interval 0.7 to 0.72), off by 0.2",
        "quality was judged on generated inputs only",
    )
    assert verdict.misses[0] == Miss("unmeasured", "quality", 0.88, 0.9)


def test_too_few_samples_are_told_apart_from_bad_answers() -> None:
    flawless = replace(outcome("a"), quality=QualityScore("top1_agreement", 1.0, 0.963, 1.0, 100, 1.0, 0.037))
    verdict = select([flawless], target_spec(quality=QualitySection(min=0.98)), False)
    assert verdict.reasons[-1] == "100 evaluation samples cannot prove the bound: a flawless candidate needs 189"


def test_all_failed_is_neither_budget_nor_quality() -> None:
    late = [failed(name, "no result within 60 s") for name in ("a", "c")]
    verdict = select([*late, replace(outcome("b"), measurement=None)], BUDGET, False)
    assert (verdict.met, verdict.missed, verdict.misses) == (False, "failed", ())
    assert verdict.reasons == (
        "every candidate failed",
        "a, c failed: no result within 60 s",
        "b failed: it was not measured",
    )
    behind, bad = replace(outcome("d"), is_rough=True), outcome("e", low=0.5)
    cut_short = select([*late, behind, bad], BUDGET, False)
    assert (cut_short.missed, cut_short.misses) == ("failed", ())
    assert cut_short.reasons == (
        "every candidate that was timed for long failed",
        "a, c failed: no result within 60 s",
    )
    assert select([], BUDGET, False).reasons == ("there was no candidate to try",)


def test_what_did_not_run_has_not_failed() -> None:
    waiting = [failed(name, NOT_RUN) for name in ("w", "x")]
    assert select([outcome("a"), *waiting], BUDGET, False).chosen == "a"
    told = ("b failed: out of memory", f"w, x: {NOT_RUN}")
    missed = select([outcome("a", 90.0), failed("b", "out of memory"), *waiting], BUDGET, False)
    assert (missed.missed, missed.reasons[-2:]) == ("budget", told)
    nothing = select([failed("b", "out of memory"), *waiting], BUDGET, False)
    assert nothing.reasons == ("every candidate that ran failed", *told)


@pytest.mark.parametrize(
    ("candidate", "status"),
    [
        (outcome("a"), "kept"),
        (outcome("a", 20.0), "budget_missed"),
        (outcome("a", 20.0, low=0.1), "quality_missed"),
        (replace(outcome("a", low=0.1), measurement=None), "quality_missed"),
        (failed("a", "x"), "failed"),
        (failed("a", NOT_RUN), "not_run"),
        (replace(outcome("a"), measurement=None, failure=NOT_RUN), "not_run"),
        (replace(outcome("a"), failure="killed in round 3"), "failed"),
    ],
)
def test_every_outcome_has_one_status(candidate: Outcome, status: str) -> None:
    assert classify(candidate, BUDGET) == status


def test_a_ratio_across_zero_is_infinite() -> None:
    assert Miss("a", "quality", -0.5, 0.9).ratio == float("inf")
    assert Miss("a", "quality", 0.45, 0.9).ratio == pytest.approx(2.0)


@pytest.mark.parametrize(("promise", "status"), [("latency_ms", "budget_missed"), ("quality", "quality_missed")])
def test_what_was_missed_as_served_is_not_kept(promise: str, status: str) -> None:
    tried = replace(outcome("a"), served_misses=(Miss("a", promise, 20.0, 15.0),))
    assert classify(tried, BUDGET) == status
