"""The search of one target, step by step: check every candidate, time the good ones shortly, and the best for long.

What each step lets through is decided in packc.search. What was left behind comes back too: refused, outpaced with the
figures of its short timing, or not tried, and why.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

from packc.candidate import Candidate, Rejection
from packc.driver.evaluate import Trial, check_candidate
from packc.driver.mixed import propose_mixed
from packc.driver.pruned import add_siblings, drop_slower
from packc.driver.timing import time_long, time_shortly
from packc.samples import count_saved
from packc.search import (
    LEAST_FINALISTS,
    TimeLimit,
    choose_finalists,
    choose_next,
    choose_pilot,
    find_beaten,
    list_recalled,
)
from packc.select import Outcome, classify, find_baseline

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Search:
    """What came of the candidates, in the order of their checks, and those that were not tried."""

    outcomes: list[Outcome]
    skipped: list[Rejection]
    cut: tuple[str, ...] = ()
    """What was not done because the time was over, in words."""


def search_candidates(candidates: Sequence[Candidate], trial: Trial, *, exhaustive: bool = False) -> Search:
    """Finds the best candidates within `[optimize] max_minutes`; those are timed for long, and so is the baseline where
    it keeps the quality bound.

    `exhaustive` judges all on all samples and times all that keep the quality for long: what the search is compared
    with.
    """
    limit = TimeLimit(trial.spec.optimize.max_minutes)
    with log_duration("checking the answers"):
        search = check_candidates(candidates, trial, limit, exhaustive=exhaustive)
    search = _check_proposed(search, trial, limit, exhaustive=exhaustive)
    kept = list_outpaced(search.outcomes, trial)
    if len(kept) > LEAST_FINALISTS and not exhaustive:
        if limit.is_over:
            how = f"which of {len(kept)} candidates to time for long was decided by the calls of their checks"
            search = _add_cut(search, how)
        else:
            with log_duration(f"short timing of {len(kept)} candidates"):
                search = recall_spared(_add_timings(search, time_shortly(kept, trial)), trial, limit)
    search = _time_finalists(search, trial, limit, exhaustive=exhaustive)
    outcomes, dropped = drop_slower(search.outcomes)
    cut = (*limit.tell_untried(search.skipped), *search.cut)
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
    outcomes: list[Outcome] = []
    skipped: list[Rejection] = []
    for candidate in candidates:
        known = [*earlier, *outcomes]
        if known and limit.is_over:
            skipped.append(limit.reject(candidate))
        elif not exhaustive and (beaten := find_beaten(candidate, known, trial.local_spec, trial.roofline)):
            log.info("%s: %s", beaten.what, beaten.reason)
            skipped.append(beaten)
        else:
            pilot = () if exhaustive else _find_pilot(known, trial)
            outcomes.append(check_candidate(candidate, trial, pilot))
    return Search(outcomes, skipped)


def _check_proposed(search: Search, trial: Trial, limit: TimeLimit, *, exhaustive: bool) -> Search:
    """With the mixed candidates checked that are proposed, each knowing what became of those before, while there is
    time."""
    looked = "looked into"
    while not limit.is_over:
        seen = {o.candidate.id for o in search.outcomes} | {rejection.what for rejection in search.skipped}
        proposed = [candidate for candidate in propose_mixed(search.outcomes, trial) if candidate.id not in seen]
        if not proposed:
            return search
        more = check_candidates(proposed, trial, limit, search.outcomes, exhaustive=exhaustive)
        search = _join(search, more)
        looked = "looked into any further"
    return _add_cut(search, f"mixed precision was not {looked}")


def _find_pilot(known: Sequence[Outcome], trial: Trial) -> tuple[int, ...]:
    """The samples that a candidate is judged on first, once the baseline's speed is known."""
    baseline = find_baseline(known)
    if baseline is None or baseline.measurement is None:
        return ()
    typical = baseline.measurement.latencies[0]
    return choose_pilot(trial.metric, count_saved(trial.ingested.inputs), typical.p50_ms / typical.case.batch)


def recall_spared(search: Search, trial: Trial, limit: TimeLimit) -> Search:
    """With those checked, while there is time, that were not tried for the sake of a rival which did not hold."""
    recalled = list_recalled(search.skipped, search.outcomes, trial.local_spec)
    if not recalled:
        return search
    more = check_candidates([spared.candidate for spared in recalled], trial, limit, search.outcomes)
    return _join(replace(search, skipped=[r for r in search.skipped if r not in recalled]), more)


def time_outpaced(outcomes: Sequence[Outcome], wanted: Collection[str], trial: Trial) -> list[Outcome]:
    """All of `outcomes`, the `wanted` of those that only had a short timing now timed for long."""
    outpaced = [outcome for outcome in list_outpaced(outcomes, trial) if outcome.candidate.id in wanted]
    return _replace_timed(outcomes, time_long(outpaced, trial)) if outpaced else list(outcomes)


def _time_finalists(search: Search, trial: Trial, limit: TimeLimit, *, exhaustive: bool) -> Search:
    """Times the finalists, those recalled for one of them that failed, and the next ones while none keeps every
    promise."""
    kept, baseline = list_outpaced(search.outcomes, trial), find_baseline(search.outcomes)
    best = kept if exhaustive else choose_finalists(kept, trial.local_spec)
    finalists = [outcome for outcome in kept if outcome in best or outcome is baseline]
    while finalists:
        field = list_outpaced(search.outcomes, trial)
        together = add_siblings(finalists, field)
        with log_duration(f"timing {len(together)} of {len(field)} candidates"):
            search = _add_timings(search, time_long(together, trial))
        known = len(search.outcomes)
        search = recall_spared(search, trial, limit)
        recalled = list_outpaced(search.outcomes[known:], trial)
        finalists = choose_next(search.outcomes, trial.local_spec)
        if finalists and limit.is_over:
            names = ", ".join(outcome.candidate.id for outcome in finalists)
            return _add_cut(search, f"no candidate keeps every promise, and the next ones ({names}) were not timed")
        if not limit.is_over:
            finalists += [outcome for outcome in recalled if outcome not in finalists]
    return search


def list_outpaced(outcomes: Sequence[Outcome], trial: Trial) -> list[Outcome]:
    """Those whose answers are good enough and that had no long timing yet."""
    return [outcome for outcome in outcomes if classify(outcome, trial.spec) == "outpaced"]


def _add_cut(search: Search, what: str) -> Search:
    """`search` with `what` told among the things that were not done because the time was over."""
    return replace(search, cut=(*search.cut, what))


def _join(search: Search, more: Search) -> Search:
    """`search` with what came of further candidates."""
    return replace(search, outcomes=[*search.outcomes, *more.outcomes], skipped=[*search.skipped, *more.skipped])


def _add_timings(search: Search, timed: Sequence[Outcome]) -> Search:
    return replace(search, outcomes=_replace_timed(search.outcomes, timed))


def _replace_timed(outcomes: Sequence[Outcome], timed: Sequence[Outcome]) -> list[Outcome]:
    """All of `outcomes` in their order, the `timed` ones as their timing left them."""
    found = {outcome.candidate.id: outcome for outcome in timed}
    return [found.get(outcome.candidate.id, outcome) for outcome in outcomes]


@contextmanager
def log_duration(what: str) -> Iterator[None]:
    """Says at the end how long it took."""
    start_s = time.monotonic()
    yield
    log.info("%s took %.0f s", what, time.monotonic() - start_s)
