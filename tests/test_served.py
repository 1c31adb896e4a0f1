from __future__ import annotations

from dataclasses import replace

from packc.quality.score import QualityScore
from packc.select import Miss, Verdict
from packc.served import judge_memory, judge_served
from packc.spec.model import BudgetSection, QualitySection, WorkloadSection
from target_spec import target_spec

ONLY = "the only candidate that keeps every promise"
KEPT = Verdict(True, "a", ("budget met: p99 6 ms of 15 ms", ONLY), (), None)


def score(low: float) -> QualityScore:
    return QualityScore("neighbour_agreement", low + 0.01, low, low + 0.02, 200, 1.0, 1.0 - low)


def test_the_served_figures_have_the_last_word() -> None:
    spec = target_spec(
        BudgetSection(latency_ms=15, throughput_per_s=100),
        QualitySection(min=0.9),
        workload=WorkloadSection(concurrency=8),
    )
    kept = judge_served(
        KEPT, spec, latency_ms=12.1, throughput_per_s=640.0, quality=score(0.93), requests=300, noisy=False
    )
    assert kept.met
    assert kept.reasons[:3] == (
        "budget met: p99 12.1 ms of 15 ms (served, 8 clients)",
        "budget met: 640 samples/s of at least 100 (served, 8 clients)",
        "quality kept: neighbour_agreement 0.94 (95 % interval 0.93 to 0.95), bound at least 0.9 (served)",
    )
    assert kept.reasons[3:] == ("without the server: p99 6 ms of 15 ms", ONLY)
    missed = judge_served(KEPT, spec, latency_ms=18.0, throughput_per_s=640.0, quality=None, requests=300, noisy=False)
    assert (missed.met, missed.chosen, missed.missed) == (False, "a", "budget")
    assert missed.reasons[0] == "budget missed: p99 18 ms of 15 ms, 20 % over (a served, 8 clients)"
    assert missed.reasons[-1] == f"{ONLY} without the server"
    assert missed.misses == (Miss("a", "latency_ms", 18.0, 15.0),)


def test_answers_through_the_server_must_keep_the_bound_too() -> None:
    spec = target_spec(quality=QualitySection(min=0.9))
    missed = judge_served(KEPT, spec, 1.0, 1.0, score(0.89), requests=300, noisy=False)
    assert (missed.met, missed.missed) == (False, "quality")
    assert missed.misses == (Miss("a", "quality", 0.89, 0.9),)


def test_all_instances_have_to_keep_the_memory() -> None:
    spec = target_spec(BudgetSection(memory_mib=2500))
    verdict = replace(KEPT, reasons=("budget met: GPU memory 900 MiB of 2,500 MiB", "quality kept: all"))
    assert judge_memory(verdict, spec, 2, 1200.0).reasons == (
        "budget met: GPU memory 2 x 1,200 MiB of 2,500 MiB", "quality kept: all",
    )  # fmt: skip
    assert judge_memory(verdict, spec, 1, 1200.0).reasons[0] == "budget met: GPU memory 1,200 MiB of 2,500 MiB"
    missed = judge_memory(verdict, spec, 2, 1500.0)
    assert (missed.met, missed.chosen, missed.missed) == (False, "a", "budget")
    assert missed.misses == (Miss("a", "memory_mib", 3000.0, 2500),)
    assert missed.reasons == (
        "budget missed: GPU memory 2 x 1,500 MiB of 2,500 MiB, 20 % over (a)", "quality kept: all",
    )  # fmt: skip
    assert judge_memory(missed, spec, 1, 9e9) is missed
    assert judge_memory(verdict, spec, 4, None) is verdict, "nobody knows"
    assert judge_memory(verdict, target_spec(), 4, 9e9) is verdict, "no bound"


def test_nothing_changes_without_a_choice_that_keeps_its_promises() -> None:
    spec = target_spec(BudgetSection(latency_ms=15, memory_mib=2500))
    nobody = Verdict(False, None, ("there was no candidate to try",), (), "failed")
    allowed = Verdict(False, "a", ("budget missed: ...",), (Miss("a", "size_mib", 30.0, 20.0),), "budget")
    for verdict in (nobody, allowed):
        assert judge_served(verdict, spec, 1.0, 1.0, None, requests=300, noisy=True) is verdict
        assert judge_memory(verdict, spec, 1, 100.0) is verdict


def test_doubts_about_the_served_figures_are_said() -> None:
    spec = target_spec(BudgetSection(latency_ms=15))
    doubted = judge_served(KEPT, spec, 12.0, 640.0, None, requests=60, noisy=True)
    assert doubted.met
    assert doubted.reasons[1].startswith("latency drifted while the server was measured")
    assert doubted.reasons[2] == "p99 as served rests on 60 requests only"
