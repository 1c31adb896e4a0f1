"""Sentences, from figures; test_select.py has whole verdicts."""

from __future__ import annotations

from packc.measure.measurement import Latency, Measurement
from packc.promises import list_speed_promises
from packc.quality.score import QualityScore
from packc.reasons import (
    Timed,
    describe_before,
    describe_budget,
    describe_choice,
    describe_gain,
    describe_missed_budget,
    describe_missed_quality,
    describe_served_budget,
    describe_served_quality,
    list_doubts,
    list_served_doubts,
)
from packc.spec.model import BudgetSection, QualitySection, WorkloadSection
from packc.tensors import ShapeCase

BUDGET = BudgetSection(latency_ms=15)


def timed(
    name: str,
    p50_ms: float = 2.0,
    size_mib: float = 23.0,
    spread: float | None = 0.0,
    threads: int = 2,
    calls: int = 300,
) -> Timed:
    """All of its calls take `p50_ms`."""
    case = ShapeCase("typical", 1, 32)
    latency = Latency(case, p50_ms, p50_ms, p50_ms, 1e3 / p50_ms, calls, (spread or 0) > 0.1, (p50_ms,) * calls, spread)
    return Timed(name, Measurement((latency,), 0.1, 300.0, size_mib, threads, "some CPU", ()))


def score(low: float) -> QualityScore:
    return QualityScore("top1_agreement", low + 0.01, low, low + 0.02, 100, 1.0, 1.0 - low)


def test_a_budget_is_met_at_a_shape() -> None:
    assert describe_budget(timed("a", threads=1).measurement, BUDGET) == [
        "budget met: p99 2 ms of 15 ms (batch 1, 32 tokens, 1 thread)"
    ]
    assert describe_budget(timed("a").measurement, BudgetSection()) == ["no budget was set"]


def test_a_choice_within_the_noise_of_others_is_not_called_certain() -> None:
    quick, near, far = timed("quick", 2.0), timed("near", 2.3, spread=0.2), timed("far", 3.0)
    assert describe_choice(quick, [quick, near, far], "latency", "left", False) == (
        "fastest of 3 left, but within noise of near (p50 2.3 ms): p50 2 ms, and the rounds differ by up to 20 %"
    )
    assert describe_choice(quick, [quick, far], "latency", "left", False) == (
        "fastest of 2 left: p50 2 ms, then far (p50 3 ms)"
    )
    assert describe_choice(near, [quick, near], "latency", "left", False).startswith("p50 2.3 ms: as good as quick")
    assert describe_choice(quick, [quick], "latency", "that keep every promise", True) == (
        "the only candidate timed for long that keeps every promise: p50 2 ms"
    )


def test_one_round_does_not_tell_which_of_two_is_ahead() -> None:
    first, second = timed("first", 7.33, spread=None), timed("second", 7.38, spread=None)
    why = "not known: p50 7.33 ms"
    assert describe_choice(first, [first, second], "latency", "left", False) == (
        f"fastest of 2 left, but by one round, so that whether it is ahead of second (p50 7.38 ms) is {why}"
    )
    far = timed("far", 12.0, spread=None)
    assert describe_choice(first, [first, far], "latency", "left", False).endswith("p50 7.33 ms, then far (p50 12 ms)")
    assert describe_gain(first, second, "latency") == [
        "by one round about the speed of second, the model as exported: p50 7.33 ms against 7.38 ms"
    ]
    assert describe_gain(first, far, "latency")[0].startswith("1.6 x the speed of far")
    assert list_doubts(first.measurement.latencies[0], BUDGET) == [
        "timed in one round: nobody knows how far others would differ from it"
    ]


def test_a_gain_is_told_in_speed_and_where_that_is_the_goal_in_size() -> None:
    small, exported = timed("int4", 2.0, size_mib=20), timed("fp32", 4.0, size_mib=80)
    speed = "2.0 x the speed of fp32, the model as exported: p50 2 ms against 4 ms"
    assert describe_gain(small, exported, "latency") == [speed]
    assert describe_gain(small, exported, "size") == [
        "0.25 of the size of fp32, the model as exported: 20 MiB against 80 MiB",
        speed,
    ]
    assert describe_gain(timed("a", 2.0), timed("fp32", 2.2, spread=0.15), "latency") == [
        "within noise of the speed of fp32, the model as exported: p50 2 ms against 2.2 ms"
    ]


def test_doubts_are_of_noise_and_of_few_calls() -> None:
    assert list_doubts(timed("a").measurement.latencies[0], BUDGET) == []
    assert list_doubts(timed("a", spread=0.2, calls=60).measurement.latencies[0], BUDGET) == [
        "timing was noisy: the medians of its rounds differ by more than 10 %",
        "p99 rests on 60 calls only",
    ]
    assert list_served_doubts(100, noisy=False, budget=BUDGET) == []
    assert list_served_doubts(40, noisy=True, budget=BUDGET) == [
        "latency drifted while the server was measured, as when other work shares the machine",
        "p99 as served rests on 40 requests only",
    ]


def test_a_miss_says_by_how_much() -> None:
    assert describe_missed_budget([timed("a", 18.0)], 1, 0, BUDGET) == [
        "budget missed: 1 candidate keeps the quality bound, none the budget",
        "nearest: a: p99 18 ms of 15 ms, 20 % over",
    ]
    assert describe_missed_budget([], 2, 3, BUDGET) == [
        "budget missed: 5 candidates keep the quality bound, none of the 2 that were timed for long the budget"
    ]
    assert describe_missed_quality([("a", score(0.8))], QualitySection(min=0.9)) == [
        "quality missed: no candidate reaches top1_agreement at least 0.9",
        "nearest: a: top1_agreement 0.81 (95 % interval 0.8 to 0.82), off by 0.1",
    ]


def test_what_clients_saw_is_told_before_what_was_measured_without_them() -> None:
    promises = list_speed_promises(18.0, 640.0, BudgetSection(latency_ms=15, throughput_per_s=100))
    assert describe_served_budget("a", promises, WorkloadSection(concurrency=8)) == [
        "budget missed: p99 18 ms of 15 ms, 20 % over (a served, 8 clients)",
        "budget met: 640 samples/s of at least 100 (served, 8 clients)",
    ]
    kept, missed = (describe_served_quality("a", score(low), QualitySection(min=0.9)) for low in (0.93, 0.8))
    assert (kept[:12], kept[-8:]) == ("quality kept", "(served)")
    assert (missed[:14], missed[-10:]) == ("quality missed", "(a served)")
    said = ("budget met: p99 2 ms", "the only candidate that keeps every promise: p50 2 ms")
    assert describe_before(said, is_missed=True) == [
        "without the server: p99 2 ms",
        "the only candidate that keeps every promise without the server: p50 2 ms",
    ]
    assert describe_before(said, is_missed=False)[1] == said[1]
