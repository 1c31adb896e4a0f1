"""The largest load at which a latency budget is kept, when it is not at the workload's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from packc.serving.queue import LoadFigures

MOST_PROBES = 7
RATE_STEP = 0.05
"""Of the rate that is missed: how close the found rate is to the first one that is too high."""


@dataclass(frozen=True, slots=True)
class KeptLoad:
    """A load at which the budget was kept, and what clients saw."""

    load: float
    """Clients, or requests a second."""
    figures: LoadFigures


def find_kept_load(
    probe: Callable[[float], LoadFigures], missed_at: float, guess: float, budget_ms: float, *, counts: bool
) -> KeptLoad | None:
    """Halves the range below `missed_at`, starting from `guess`, in MOST_PROBES probes at most; None when none kept.

    `counts`: the load is a number of clients; else a rate, found to RATE_STEP of `missed_at`.
    """
    low, high = 0.0, missed_at
    step = 1.0 if counts else RATE_STEP * missed_at
    best: KeptLoad | None = None
    load = min(max(guess, step), high - step)
    for _ in range(MOST_PROBES):
        if high - low <= step * (1 + 1e-9):
            break
        load = float(round(load)) if counts else load
        figures = probe(load)
        if figures.latency_ms <= budget_ms:
            low, best = load, KeptLoad(load, figures)
        else:
            high = load
        load = (low + high) / 2 if not counts else (low + high) // 2
    return best


def guess_kept_load(
    predict: Callable[[float], LoadFigures | None], missed_at: float, budget_ms: float, *, counts: bool
) -> float:
    """The largest load whose prediction keeps the budget: where to start looking; half where nothing is predicted."""

    def probe(load: float) -> LoadFigures:
        return predict(load) or LoadFigures(0.0, 0.0, float("inf"))

    if predict(missed_at / 2) is None:
        return missed_at / 2
    found = find_kept_load(probe, missed_at, missed_at / 2, budget_ms, counts=counts)
    return found.load if found else 0.0
