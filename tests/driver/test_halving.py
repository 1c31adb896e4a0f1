"""Who is checked, who is timed shortly and for long, and what is said of the others."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace

import pytest

from driver_world import Way, World, make_candidate
from packc.candidate import Candidate, Rejection
from packc.driver import halving
from packc.driver.evaluate import Trial
from packc.driver.halving import log_duration, search_candidates, time_outpaced
from packc.measure.peak import GemmRate, Peaks
from packc.measure.work import Work
from packc.roofline import Roofline
from packc.search import Spared, TimeLimit
from packc.select import Outcome, classify

SLOW = Way(ms=12.0)


def add_field(world: World) -> None:
    """Three fast candidates beside the slow baseline, and one that is slower still."""
    world.ways |= {"base": SLOW, "a": Way(ms=1.0), "b": Way(ms=1.0), "c": Way(ms=1.0), "snail": Way(ms=25.0)}


def test_refused_candidates_are_not_timed(world: World) -> None:
    world.ways["wrong"] = Way(error=0.5)
    wrong = world.search()["wrong"]
    assert world.checks == ["base", "wrong"]
    assert world.timings == [["base"]]
    assert wrong.failure is None
    assert wrong.quality is not None
    assert wrong.quality.value == pytest.approx(0.5)
    assert wrong.measurement is not None, "the rough figures of its check stay"
    assert [latency.case.name for latency in wrong.measurement.latencies] == ["typical"]


def test_nothing_is_timed_when_nothing_is_kept(world: World) -> None:
    world.ways["base"] = Way(error=0.5)
    world.search()
    assert world.timings == []


def test_the_best_and_the_baseline_are_timed_for_long(world: World) -> None:
    add_field(world)
    outcomes = world.search()
    short, long = world.timings
    assert short == ["base", "a", "b", "c", "snail"]
    assert long == ["base", "a", "b", "c"]
    assert outcomes["snail"].is_rough
    assert outcomes["snail"].measurement is not None, "the figures of its short timing"
    assert not any(outcomes[name].is_rough for name in long)


def test_few_candidates_need_no_short_timing(world: World) -> None:
    world.ways |= {"a": Way(), "b": Way()}
    world.search()
    assert world.timings == [["base", "a", "b"]]


def test_exhaustive_times_everything_for_long(world: World) -> None:
    add_field(world)
    outcomes = world.search(exhaustive=True)
    assert world.timings == [list(world.ways)]
    assert not any(outcome.is_rough for outcome in outcomes.values())


def test_the_next_ones_have_their_turn_when_the_finalists_fail(world: World) -> None:
    fragile = Way(fault="hang when timed")
    world.ways |= {"base": fragile, "a": fragile, "b": fragile, "late": Way(ms=12.0)}
    trial = world.make_trial()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("packc.driver.timing.JOB_TIMEOUT_S", 1.0)
        patch.setattr(halving, "time_shortly", lambda outcomes, _: list(outcomes))
        search = search_candidates(world.candidates(), trial)
    assert world.timings == [["base", "a", "b"], ["late"]]
    assert classify(search.outcomes[-1], trial.spec) == "kept"


@pytest.mark.parametrize("others", [1, 3])
def test_a_spared_one_has_its_turn_when_its_rival_fails_in_timing(
    world: World, monkeypatch: pytest.MonkeyPatch, others: int
) -> None:
    """With many others the rival fails in its short timing, with few in its long one."""
    monkeypatch.setattr("packc.driver.timing.JOB_TIMEOUT_S", 1.0)
    more = {f"other {number}": Way(ms=6.0) for number in range(others - 1)}
    world.ways |= {"bold": Way(fault="hang when timed"), "careful": Way(ms=2.0), **more}
    spared = Spared("careful", "not tried", make_candidate("careful", world.ways["careful"]), "bold")

    def find_beaten(candidate: Candidate, known: Sequence[Outcome], *_: object) -> Rejection | None:
        bold = [o for o in known if o.candidate.id == "bold" and o.failure is None]
        return spared if bold and candidate.id == "careful" else None

    monkeypatch.setattr(halving, "find_beaten", find_beaten)
    trial = world.make_trial()
    search = search_candidates(world.candidates(), trial)
    statuses = {outcome.candidate.id: classify(outcome, trial.spec) for outcome in search.outcomes}
    assert (statuses["bold"], statuses["careful"], statuses["base"]) == ("failed", "kept", "kept")
    assert search.skipped == []


def test_a_spared_one_waits_while_its_rival_holds(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    spared = Spared("careful", "not tried", make_candidate("careful", Way()), "base")
    world.ways["careful"] = Way()
    monkeypatch.setattr(halving, "find_beaten", lambda candidate, *_: spared if candidate.id == "careful" else None)
    assert search_candidates(world.candidates(), world.make_trial()).skipped == [spared]
    assert world.checks == ["base"]


def test_those_left_behind_can_be_timed_later(world: World) -> None:
    add_field(world)
    trial = world.make_trial()
    outcomes = time_outpaced(search_candidates(world.candidates(), trial).outcomes, {"a", "snail"}, trial)
    assert world.timings[-1] == ["snail"]
    assert [classify(outcome, trial.spec) for outcome in outcomes] == ["kept"] * 5


def test_only_as_many_as_the_time_allows(world: World) -> None:
    world.ways["late"] = Way()
    search = search_candidates(world.candidates(), world.make_trial("[optimize]\nmax_minutes = 0.0001"))
    assert [outcome.candidate.id for outcome in search.outcomes] == ["base"]
    assert [(rejection.what, "max_minutes" in rejection.reason) for rejection in search.skipped] == [("late", True)]
    assert search.cut == ("1 candidate was not tried", "mixed precision was not looked into")


def test_mixed_precision_that_was_begun_is_told_apart(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    over = iter([False] * 2)
    monkeypatch.setattr(TimeLimit, "is_over", property(lambda _: next(over, True)))
    first, second = (make_candidate(name, Way()) for name in ("mixed 1", "mixed 2"))
    monkeypatch.setattr(halving, "propose_mixed", lambda outcomes, _: [first] if len(outcomes) == 1 else [second])
    world.ways |= {"mixed 1": Way(), "mixed 2": Way()}
    search = search_candidates([make_candidate("base", Way())], world.make_trial("[optimize]\nmax_minutes = 1"))
    assert [outcome.candidate.id for outcome in search.outcomes] == ["base", "mixed 1"]
    assert search.cut == ("mixed precision was not looked into any further",)


def test_what_the_time_cut_short_is_told(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    add_field(world)
    trial = world.make_trial("[budget]\nlatency_ms = 0.001\n[optimize]\nmax_minutes = 1")
    over = iter([False] * 4)
    monkeypatch.setattr(TimeLimit, "is_over", property(lambda _: next(over, True)))
    monkeypatch.setattr("packc.search.may_keep_budget", lambda *_: True)
    search = search_candidates(world.candidates(), trial)
    assert len(world.timings) == 1
    assert search.cut == (
        "mixed precision was not looked into",
        "which of 5 candidates to time for long was decided by the calls of their checks",
        "no candidate keeps every promise, and the next ones (snail) were not timed",
    )


def test_a_search_that_had_its_time_is_whole(world: World) -> None:
    assert search_candidates(world.candidates(), world.make_trial("[optimize]\nmax_minutes = 9")).cut == ()


def test_further_candidates_are_proposed_once_the_answers_are_known(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def propose(outcomes: Sequence[Outcome], trial: Trial) -> list[Candidate]:
        assert all(outcome.quality is not None for outcome in outcomes)
        names = ["thought of later", "and after that"][len(outcomes) - 1 :]
        return [make_candidate(name, world.ways[name]) for name in names[:1]]

    monkeypatch.setattr(halving, "propose_mixed", propose)
    candidates = world.candidates()
    world.ways |= {"thought of later": Way(), "and after that": Way()}
    search = search_candidates(candidates, world.make_trial())
    assert world.timings == [["base", "thought of later", "and after that"]]
    assert [outcome.candidate.id for outcome in search.outcomes] == world.timings[0]


def test_a_proposal_that_is_refused_is_not_made_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.ways["thought of later"] = Way()
    later = make_candidate("thought of later", world.ways["thought of later"])
    monkeypatch.setattr(halving, "propose_mixed", lambda outcomes, trial: [later])
    refuse = lambda candidate, *_: Rejection(candidate.id, "beaten") if candidate == later else None  # noqa: E731
    monkeypatch.setattr(halving, "find_beaten", refuse)
    search = search_candidates([make_candidate("base", Way())], world.make_trial())
    assert [rejection.what for rejection in search.skipped] == ["thought of later"]


def test_a_slow_model_has_a_pilot(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("packc.search.PILOT_SAMPLES", 4)
    monkeypatch.setattr("packc.search.PILOT_PAYS_S", 0.001)
    world.ways |= {"wrong": Way(error=0.5), "right": Way()}
    outcomes = world.search()
    assert world.checks == ["base", "wrong", "right", "right"]
    wrong = outcomes["wrong"].quality
    assert wrong is not None
    assert wrong.samples == 4
    world.checks.clear()
    assert outcomes.keys() == world.search(exhaustive=True).keys()
    assert world.checks == ["wrong"], "on all samples this time; the others' answers are in the cache"


def test_what_was_beaten_before_its_turn_is_not_checked(world: World) -> None:
    world.ways |= {"quick": Way(ms=1.0), "never": Way(ms=1.0, precision="int8")}
    trial = world.make_trial()
    slow = Peaks((GemmRate("int8", 100.0, "numpy"),), (), 2, "measured here")
    roofline = Roofline(trial.cases, (Work(1e9, 0.0),) * len(trial.cases), slow)
    search = search_candidates(world.candidates(), replace(trial, roofline=roofline))
    assert world.checks == ["base", "quick"]
    ((beaten, reason),) = ((item.what, item.reason) for item in search.skipped)
    assert beaten == "never"
    assert reason.startswith("not tried: estimated to take 10 ms at least (100 GFLOP/s of int8, measured here)")
    search_candidates(world.candidates(), replace(trial, roofline=roofline), exhaustive=True)
    assert "never" in world.checks


def test_steps_say_how_long_they_took(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    with log_duration("thinking"):
        pass
    assert caplog.messages == ["thinking took 0 s"]
