"""Verdict -> Verdict: the promises again, once it is known how the choice is served and what clients got of it.

Pure functions.
"""

from __future__ import annotations

from dataclasses import replace

from packc.promises import GPU_MEMORY, list_speed_promises, make_memory_promise
from packc.quality.gate import judge_score
from packc.quality.score import QualityScore
from packc.reasons import describe_before, describe_served_budget, describe_served_quality, list_served_doubts
from packc.select import Miss, Missed, Verdict
from packc.spec.model import TargetSpec


def judge_memory(verdict: Verdict, spec: TargetSpec, instances: int, instance_mib: float | None) -> Verdict:
    """The verdict once it is known how many instances share a GPU: the bound on its memory is on all of them.

    `instance_mib` is the most that one was measured to take; where nobody knows, and where there is no bound, the
    verdict stays as it is, and so does one without a choice or with a miss.
    """
    bound_mib = spec.budget.memory_mib
    if verdict.chosen is None or not verdict.met or instance_mib is None or not bound_mib:
        return verdict
    promise = make_memory_promise(instances, instance_mib, bound_mib)
    others = tuple(reason for reason in verdict.reasons if f": {GPU_MEMORY} " not in reason)
    if promise.is_kept:
        return replace(verdict, reasons=(f"budget met: {promise.text}", *others))
    reason = f"budget missed: {promise.miss_text} ({verdict.chosen})"
    misses = (Miss(verdict.chosen, promise.key, promise.measured, promise.bound),)
    return replace(verdict, met=False, reasons=(reason, *others), misses=misses, missed="budget")


def judge_served(
    verdict: Verdict,
    spec: TargetSpec,
    latency_ms: float,
    throughput_per_s: float,
    quality: QualityScore | None,
    *,
    requests: int,
    noisy: bool,
) -> Verdict:
    """The verdict once a real server has answered: what clients get decides, not what was measured without it.

    `latency_ms` is at the budget's percentile, under the workload, of so many `requests`; `quality` of the answers
    through the server, None where the metric cannot be had from them; `noisy`: whether the latency drifted meanwhile. A
    verdict without a choice stays as it is, and so does a miss.
    """
    if verdict.chosen is None or not verdict.met:
        return verdict
    promises = list_speed_promises(latency_ms, throughput_per_s, spec.budget)
    misses = [Miss(verdict.chosen, p.key, p.measured, p.bound) for p in promises if not p.is_kept]
    missed: Missed = "budget" if misses else None
    reasons = describe_served_budget(verdict.chosen, promises, spec.workload)
    if quality is not None:
        reasons.append(describe_served_quality(verdict.chosen, quality, spec.quality))
        judgement = judge_score(quality, spec.quality)
        if not judgement.kept:
            misses.insert(0, Miss(verdict.chosen, "quality", judgement.measured, judgement.bound))
            missed = "quality"
    reasons += list_served_doubts(requests, noisy, spec.budget)
    before = describe_before(verdict.reasons, is_missed=bool(misses))
    return replace(verdict, met=not misses, reasons=(*reasons, *before), misses=tuple(misses), missed=missed)
