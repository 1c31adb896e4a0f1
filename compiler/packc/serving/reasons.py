"""The reasons of a serving plan, in words: what it was compared with, and what it takes.

Pure functions of figures; packc.serving.search finds the ways of serving that they are about.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from packc.promises import format_figure
from packc.serving.plan import ServingPlan, describe_plan
from packc.serving.queue import LoadFigures
from packc.serving.search import Tried


def explain_way(
    best: Tried, tried: Sequence[Tried], rule: ServingPlan, percentile: float, instance_mib: float | None
) -> tuple[str, ...]:
    """Why `best`, which has figures, is the best of the `tried` ways.

    `rule` is the plan that the workload alone suggests, with its own reasons; `percentile` that of the figures'
    latency. `instance_mib`: what one instance was measured to take of a GPU's memory; None where nobody knows.
    """
    figures = best.served or best.predicted
    assert figures is not None, "only a way with figures is chosen"
    text = describe_figures(figures, percentile)
    if best.served is None:
        return (f"predicted best from measured curves, without the server's own cost: {text}; no server confirmed it",)
    plan_by_rule = replace(rule, reasons=())
    by_rule = next((item for item in tried if item.way.plan == plan_by_rule and item.served), None)
    served = sum(item.served is not None for item in tried)
    if best is by_rule:
        return (*rule.reasons, f"{_describe_rank('as good as any', served)}: {text}")
    reasons = [f"{_describe_rank('best', served)}: {text}"]
    if by_rule and by_rule.served:
        before = describe_figures(by_rule.served, percentile)
        reasons.append(f"the workload alone suggested {describe_plan(rule)} ({by_rule.way.candidate}): {before}")
    return (*reasons, *_describe_memory(best.way.plan.instances, instance_mib))


def _describe_memory(instances: int, instance_mib: float | None) -> tuple[str, ...]:
    """What several instances take of a GPU's memory, as far as one was measured."""
    if instance_mib is None or instances == 1:
        return ()
    each = f"each of the {instances} instances has a copy of the model"
    return (f"{each}: {instances} x {instance_mib:,.0f} MiB of GPU memory",)


def _describe_rank(how: str, served: int) -> str:
    return f"{how} of {served} served plans" if served > 1 else "the only plan served"


def describe_figures(figures: LoadFigures, percentile: float) -> str:
    """ "410 samples/s, p50 4.8 ms, p99 9.1 ms"."""
    return (
        f"{format_figure(figures.throughput_per_s)} samples/s, p50 {format_figure(figures.p50_ms)} ms, "
        f"p{percentile:g} {format_figure(figures.latency_ms)} ms"
    )
