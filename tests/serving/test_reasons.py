"""Sentences, from figures; tests of packc.driver.ways have them of a whole search."""

from __future__ import annotations

from dataclasses import replace

from packc.serving import ServingPlan
from packc.serving.queue import LoadFigures
from packc.serving.reasons import describe_figures, explain_way
from packc.serving.search import Tried, Way

PLAN = ServingPlan(2, 1, 8, 0, ())
RULE = replace(PLAN, reasons=("8 clients and no more",))
FAST, SLOW = LoadFigures(410.0, 4.8, 9.1), LoadFigures(205.0, 9.6, 18.2)


def try_way(plan: ServingPlan, served: LoadFigures | None, predicted: LoadFigures | None = None) -> Tried:
    return Tried(Way("a", plan), predicted, served)


def test_figures_in_words() -> None:
    assert describe_figures(LoadFigures(1204.2, 4.81, 9.1), 95) == "1,204 samples/s, p50 4.81 ms, p95 9.1 ms"


def test_the_best_is_compared_with_what_the_workload_suggested() -> None:
    rule, best = try_way(PLAN, SLOW), try_way(replace(PLAN, instances=1), FAST)
    assert explain_way(best, [rule, best], RULE, 99, None) == (
        "best of 2 served plans: 410 samples/s, p50 4.8 ms, p99 9.1 ms",
        "the workload alone suggested 2 instances of 1 thread, batches up to 8 (a): "
        "205 samples/s, p50 9.6 ms, p99 18.2 ms",
    )
    failed = replace(rule, served=None, failure="out of memory")
    assert explain_way(best, [failed, best], RULE, 99, None) == (
        "the only plan served: 410 samples/s, p50 4.8 ms, p99 9.1 ms",
    )


def test_the_rule_keeps_its_own_reasons() -> None:
    rule, other = try_way(PLAN, FAST), try_way(replace(PLAN, instances=1), SLOW)
    figures = "410 samples/s, p50 4.8 ms, p99 9.1 ms"
    assert explain_way(rule, [rule, other], RULE, 99, 1000.0) == (
        "8 clients and no more",
        f"as good as any of 2 served plans: {figures}",
    )
    assert explain_way(rule, [rule], RULE, 99, None) == ("8 clients and no more", f"the only plan served: {figures}")


def test_copies_on_a_gpu_tell_what_they_take() -> None:
    one, two = try_way(replace(PLAN, instances=1), FAST), try_way(replace(PLAN, threads=2), FAST)
    memory = "each of the 2 instances has a copy of the model: 2 x 1,000 MiB of GPU memory"
    assert explain_way(two, [two], RULE, 99, 1000.0)[-1] == memory
    assert len(explain_way(two, [two], RULE, 99, None)) == len(explain_way(one, [one], RULE, 99, 1000.0)) == 1


def test_a_plan_that_no_server_confirmed_says_so() -> None:
    predicted = try_way(PLAN, None, FAST)
    (only,) = explain_way(predicted, [predicted], RULE, 99, None)
    assert only == (
        "predicted best from measured curves, without the server's own cost: 410 samples/s, p50 4.8 ms, p99 9.1 ms; "
        "no server confirmed it"
    )
