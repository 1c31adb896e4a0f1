"""Pruned candidates lose answers for speed, so one that is not faster than its unpruned sibling is dropped."""

from __future__ import annotations

from collections.abc import Sequence

from packc.candidate import Rejection
from packc.promises import format_figure
from packc.select import Outcome

SUFFIX = "-pruned"


def add_siblings(finalists: Sequence[Outcome], kept: Sequence[Outcome]) -> list[Outcome]:
    """The finalists, and those of `kept` that a pruned finalist is to be faster than: they are timed in turns."""
    wanted = {o.candidate.id.removesuffix(SUFFIX) for o in finalists if o.candidate.id.endswith(SUFFIX)}
    chosen = {o.candidate.id for o in finalists}
    return [*finalists, *(o for o in kept if o.candidate.id in wanted - chosen)]


def drop_slower(outcomes: Sequence[Outcome]) -> tuple[list[Outcome], list[Rejection]]:
    """The outcomes that stay, and the pruned ones whose typical call is no faster than their sibling's, and why.

    Figures are compared where both had a long timing, or neither had; otherwise the pruned one stays.
    """
    siblings = {outcome.candidate.id: outcome for outcome in outcomes}
    stay: list[Outcome] = []
    dropped: list[Rejection] = []
    for outcome in outcomes:
        name = outcome.candidate.id
        sibling = siblings.get(name.removesuffix(SUFFIX)) if name.endswith(SUFFIX) else None
        reason = _find_reason(outcome, sibling) if sibling is not None else None
        if reason is None:
            stay.append(outcome)
        else:
            dropped.append(Rejection(name, reason))
    return stay, dropped


def _find_reason(pruned: Outcome, sibling: Outcome) -> str | None:
    if pruned.measurement is None or sibling.measurement is None or pruned.is_rough != sibling.is_rough:
        return None
    own_ms, other_ms = pruned.measurement.latencies[0].p50_ms, sibling.measurement.latencies[0].p50_ms
    if own_ms < other_ms:
        return None
    figures = f"p50 {format_figure(own_ms)} ms against {format_figure(other_ms)} ms"
    return f"pruning does not pay: {figures} of {sibling.candidate.id}"
