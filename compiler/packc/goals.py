"""What `[optimize] goal` makes small or large: the figure of a measurement, its words, and what noise says of it."""

from __future__ import annotations

from packc.measure.measurement import Measurement
from packc.promises import format_figure
from packc.spec.optimize import Goal

SUPERLATIVES: dict[Goal, str] = {
    "latency": "fastest",
    "throughput": "highest throughput",
    "size": "smallest",
    "cost": "cheapest",
}

SAME = 1.02
"""Figures within 2 % of each other are equal as far as measuring can tell."""

ONE_ROUND = 0.25
"""Share that a figure of a single round may be off by for all that is known, as far as ten calls may (MARGIN of
packc.search)."""


def find_figure(measurement: Measurement, goal: Goal) -> float:
    """What the goal makes small. Cost is core-milliseconds a sample at the typical shape."""
    typical = measurement.latencies[0]
    match goal:
        case "latency":
            return typical.p50_ms
        case "throughput":
            return 1 / max(latency.throughput_per_s for latency in measurement.latencies)
        case "size":
            return measurement.size_mib
        case "cost":
            return typical.p50_ms * measurement.threads / typical.case.batch


def describe_figure(measurement: Measurement, goal: Goal) -> str:
    """ "p50 9.8 ms"."""
    figure = find_figure(measurement, goal)
    match goal:
        case "latency":
            return f"p50 {format_figure(figure)} ms"
        case "throughput":
            return f"{format_figure(1 / figure)} samples/s"
        case "size":
            return f"{format_figure(figure)} MiB"
        case "cost":
            return f"{format_figure(figure)} core-ms a sample"


def find_spread(measurement: Measurement, goal: Goal) -> float | None:
    """How far the rounds that the figure rests on disagree, as a share of it; 0 for sizes, which have no noise.

    None where there was a single round.
    """
    if goal == "size":
        return 0.0
    counted = measurement.latencies if goal == "throughput" else measurement.latencies[:1]
    spreads = [latency.spread for latency in counted if latency.spread is not None]
    return max(spreads) if len(spreads) == len(counted) else None


def is_within_noise(one: Measurement, other: Measurement, goal: Goal) -> bool:
    """Whether the two differ by no more than the rounds of one of them do.

    Of a single round nobody knows that: those that differ by no more than ONE_ROUND count as near then.
    """
    low, high = sorted(find_figure(measurement, goal) for measurement in (one, other))
    spreads = [find_spread(measurement, goal) for measurement in (one, other)]
    return high <= low * (1 + max(ONE_ROUND if spread is None else spread for spread in spreads))
