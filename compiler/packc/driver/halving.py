"""The search of one target, step by step: check every candidate, time the good ones shortly, and the best for long.

What each step lets through is decided in packc.search. What was left behind comes back too: refused, outpaced with the
figures of its short timing, or not tried, and why.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

from packc.candidate import Candidate
from packc.driver.evaluate import Trial, check_candidate
from packc.driver.mixed import propose_mixed
from packc.driver.pruned import add_siblings, drop_slower
from packc.driver.timing import time_long, time_shortly
from packc.plan import Rejection
from packc.samples import count_saved
from packc.search import LEAST_FINALISTS, TimeLimit, choose_finalists, choose_pilot, find_beaten, needs_more
from packc.select import Outcome, classify, find_baseline

log = logging.getLogger(__name__)

Proposer = Callable[[Sequence[Outcome], Trial], Sequence[Candidate]]
"""Further candidates, thought of once it is known what became of the answers so far; asked until it has none."""

PROPOSERS: tuple[Proposer, ...] = (propose_mixed,)


@dataclass(frozen=True, slots=True)
class Search:
    """What came of the candidates, in their order, and those that were not tried."""

    outcomes: list[Outcome]
    skipped: list[Rejection]
    cut: tuple[str, ...] = ()
    """What was not done because the time was over, in words."""


def search_candidates(candidates: Sequence[Candidate], trial: Trial, *, exhaustive: bool = False) -> Search:
    """Finds the best candidates within `[optimize] max_minutes`; those are timed for long, and so is the baseline.

    `exhaustive` judges all on all samples and times all that keep the quality for long: what the search is compared
    with.
    """
    limit = TimeLimit(trial.spec.optimize.max_minutes)
    with log_duration("checking the answers"):
        search = check_candidates(candidates, trial, limit, exhaustive=exhaustive)
    steps: list[str] = []
    for propose in PROPOSERS:
        while True:
            if limit.is_over:
                steps.append("mixed precision was not looked into")
                break
            seen = {o.candidate.id for o in search.outcomes} | {rejection.what for rejection in search.skipped}
            proposed = [candidate for candidate in propose(search.outcomes, trial) if candidate.id not in seen]
            if not proposed:
                break
            more = check_candidates(proposed, trial, limit, search.outcomes, exhaustive=exhaustive)
            search = Search(search.outcomes + more.outcomes, search.skipped + more.skipped)
    kept = list_outpaced(search.outcomes, trial)
    if len(kept) > LEAST_FINALISTS and not exhaustive:
        if limit.is_over:
            steps.append(f"which of {len(kept)} candidates to time for long was decided by the calls of their checks")
        else:
            with log_duration(f"short timing of {len(kept)} candidates"):
                search = _update(search, time_shortly(kept, trial))
    search = _time_finalists(search, trial, limit, exhaustive=exhaustive)
    outcomes, dropped = drop_slower(search.outcomes)
    cut = (*limit.tell_untried(search.skipped), *steps, *search.cut)
    return Search(outcomes, [*search.skipped, *dropped], cut)


def check_candidates(
    candidates: Sequence[Candidate],
    trial: Trial,
    limit: TimeLimit,
    earlier: Sequence[Outcome] = (),
    *,
    exhaustive: bool = False,
) -> Search:
    """Checks the candidates in order while there is time, the first of all in any case; `earlier` ones were before."""
    search = Search([], [])
    for candidate in candidates:
        known = [*earlier, *search.outcomes]
        if known and limit.is_over:
            search.skipped.append(limit.reject(candidate))
        elif not exhaustive and (beaten := find_beaten(candidate, known, trial.local_spec, trial.roofline)):
            log.info("%s: %s", beaten.what, beaten.reason)
            search.skipped.append(beaten)
        else:
            pilot = () if exhaustive else _find_pilot(known, trial)
            search.outcomes.append(check_candidate(candidate, trial, pilot))
    return search


def _find_pilot(known: Sequence[Outcome], trial: Trial) -> tuple[int, ...]:
    """The samples that a candidate is judged on first, once the baseline's speed is known."""
    baseline = find_baseline(known)
    if baseline is None or baseline.measurement is None:
        return ()
    typical = baseline.measurement.latencies[0]
    return choose_pilot(trial.metric, count_saved(trial.ingested.inputs), typical.p50_ms / typical.case.batch)


def time_outpaced(outcomes: Sequence[Outcome], wanted: Collection[str], trial: Trial) -> list[Outcome]:
    """All of `outcomes`, the `wanted` of those that only had a short timing now timed for long."""
    outpaced = [outcome for outcome in list_outpaced(outcomes, trial) if outcome.candidate.id in wanted]
    return _update(Search(list(outcomes), []), time_long(outpaced, trial)).outcomes if outpaced else list(outcomes)


def _time_finalists(search: Search, trial: Trial, limit: TimeLimit, *, exhaustive: bool) -> Search:
    """Times the finalists, and the next ones while none of them keeps every promise."""
    kept = list_outpaced(search.outcomes, trial)
    finalists = kept if exhaustive else choose_finalists(kept, trial.local_spec)
    finalists = [o for o in kept if o in finalists or o is find_baseline(search.outcomes)]
    while finalists:
        with log_duration(f"timing {len(finalists)} of {len(kept)} candidates"):
            search = _update(search, time_long(add_siblings(finalists, list_outpaced(search.outcomes, trial)), trial))
        finalists = needs_more(search.outcomes, trial.local_spec)
        if finalists and limit.is_over:
            names = ", ".join(outcome.candidate.id for outcome in finalists)
            cut = f"no candidate keeps every promise, and the next ones ({names}) were not timed"
            return replace(search, cut=(cut,))
    return search


def list_outpaced(outcomes: Sequence[Outcome], trial: Trial) -> list[Outcome]:
    """Those whose answers are good enough and that had no long timing yet."""
    return [outcome for outcome in outcomes if classify(outcome, trial.spec) == "outpaced"]


def _update(search: Search, timed: Sequence[Outcome]) -> Search:
    found = {outcome.candidate.id: outcome for outcome in timed}
    return Search([found.get(outcome.candidate.id, outcome) for outcome in search.outcomes], search.skipped)


@contextmanager
def log_duration(what: str) -> Iterator[None]:
    """Says at the end how long it took."""
    start_s = time.monotonic()
    yield
    log.info("%s took %.0f s", what, time.monotonic() - start_s)
