"""Who has the next turn with the server after one that failed, or broke a promise, as served."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from packc.driver.halving import Search, recall_spared, time_outpaced
from packc.driver.packing import Packing
from packc.package.manifest import ServedRecord
from packc.select import Outcome, Verdict, classify
from packc.serving import ServingPlan

NO_RECALL = "what does the same as one that failed, with more precautions, was not tried"


@dataclass(frozen=True, slots=True)
class Attempt:
    """A candidate that was packaged, and the verdict on it as the server's figures leave it."""

    outcome: Outcome
    """With what it broke, or how it failed, through the server."""
    plan: ServingPlan
    verdict: Verdict
    served: ServedRecord | None
    """None where no server was asked, and where none could answer."""

    @property
    def has_failed(self) -> bool:
        return self.outcome.failure is not None

    @property
    def is_only_late(self) -> bool:
        """Whether the latency is all that it missed: one that is slower for one caller will miss it too."""
        own = {miss.promise for miss in self.verdict.misses if miss.candidate == self.outcome.candidate.id}
        return not self.has_failed and own == {"latency_ms"}

    @property
    def distance(self) -> float:
        """How far off its worst promise is, as a ratio."""
        if self.has_failed:
            return float("inf")
        return max((miss.ratio for miss in self.verdict.misses), default=1.0)


def find_rivals(
    packing: Packing, attempts: Sequence[Attempt], firsts: Collection[str]
) -> tuple[Packing, list[Outcome]]:
    """Those not served yet that may do as served what no attempt did; and the packing, with what was tried for that.

    `firsts` are the selection's own choices so far. Where none that keeps every promise is left, those that were
    outpaced are timed for long.
    """
    packing = _recall_spared(packing, attempts)
    rivals = _list_rivals(packing, attempts, firsts)
    if not any(classify(outcome, packing.findings.local_spec) == "kept" for outcome in rivals):
        packing = _time_outpaced(packing, attempts)
        rivals = _list_rivals(packing, attempts, firsts)
    return packing, rivals


def settle_outcomes(outcomes: Sequence[Outcome], attempts: Sequence[Attempt]) -> list[Outcome]:
    """The outcomes, every attempted one as the server left it."""
    attempted = {attempt.outcome.candidate.id: attempt.outcome for attempt in attempts}
    return [attempted.get(outcome.candidate.id, outcome) for outcome in outcomes]


def add_cut(packing: Packing, what: str) -> Packing:
    """With `what` told, once, of the things that were not done because the time was over."""
    cut = tuple(dict.fromkeys((*packing.findings.cut, what)))
    return replace(packing, findings=replace(packing.findings, cut=cut))


def _list_rivals(packing: Packing, attempts: Sequence[Attempt], firsts: Collection[str]) -> list[Outcome]:
    """All that are left after failures alone, else the kept ones; after a missed latency the faster of them.

    The `firsts` stay in any case: a near rival was preferred to them, which says nothing against them.
    """
    spec = packing.findings.local_spec
    rivals = _list_unserved(packing, attempts)
    if not all(attempt.has_failed for attempt in attempts):
        rivals = [outcome for outcome in rivals if classify(outcome, spec) == "kept"]
    return [o for o in rivals if o.candidate.id in firsts or _is_faster(o, attempts)]


def _list_unserved(packing: Packing, attempts: Sequence[Attempt]) -> list[Outcome]:
    attempted = {attempt.outcome.candidate.id for attempt in attempts}
    return [outcome for outcome in packing.findings.outcomes if outcome.candidate.id not in attempted]


def _is_faster(outcome: Outcome, attempts: Sequence[Attempt]) -> bool:
    """Whether it is, for one caller, faster than all `attempts` that were too late and nothing else."""
    return all(_typical_p50_ms(outcome) < _typical_p50_ms(late.outcome) for late in attempts if late.is_only_late)


def _time_outpaced(packing: Packing, attempts: Sequence[Attempt]) -> Packing:
    """With a long timing for those not served yet that only had a short one, as far as they may be fast enough."""
    wanted = {o.candidate.id for o in _list_unserved(packing, attempts) if _is_faster(o, attempts)}
    outcomes = time_outpaced(packing.findings.outcomes, wanted, packing.trial)
    return replace(packing, findings=replace(packing.findings, outcomes=outcomes))


def _recall_spared(packing: Packing, attempts: Sequence[Attempt]) -> Packing:
    """With those tried that were spared for the sake of an attempt which failed, or missed quality, as served."""
    findings, limit = packing.findings, packing.limit
    before = Search(settle_outcomes(findings.outcomes, attempts), list(findings.rejected))
    after = recall_spared(before, packing.trial, limit)
    recalled = after.outcomes[len(before.outcomes) :]
    if limit.tell_untried(after.skipped) != limit.tell_untried(before.skipped):
        packing = add_cut(packing, NO_RECALL)
    timed = time_outpaced(recalled, {outcome.candidate.id for outcome in recalled}, packing.trial)
    findings = replace(packing.findings, outcomes=[*findings.outcomes, *timed], rejected=after.skipped)
    return replace(packing, findings=findings)


def _typical_p50_ms(outcome: Outcome) -> float:
    return outcome.measurement.latencies[0].p50_ms if outcome.measurement else float("inf")
