"""Whose turn it is after one that failed, or broke a promise, through the server."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from driver_builds import BUDGET, make_outcome, publish
from driver_world import Way, World, make_candidate
from packc.driver import best
from packc.driver.ways import Service, WayFinder
from packc.quality.score import QualityScore
from packc.search import Spared, TimeLimit
from packc.select import Outcome
from packc.server.replay import GoldenMismatch
from packc.server.verify import Verified

WRONG = QualityScore("max_error", 0.5, 0.5, 0.5, 12, 0.0, 0.5)


def spare(world: World, name: str, rival: str) -> Spared:
    """A candidate that a search leaves out for the sake of `rival`; it answers as the model does."""
    world.ways[name] = Way(ms=2.0, precision="bf16")
    return Spared(name, f"not tried: {rival} does the same", make_candidate(name, world.ways[name]), rival)


def spoil(patch: pytest.MonkeyPatch, precision: str, how: str) -> None:
    """Packages of that precision answer wrongly through the server: a little, or beyond all tolerance."""
    serve = best.verify_package

    def verify(*args: object, **options: object) -> Verified:
        verified = serve(*args, **options)  # type: ignore[arg-type]
        if args[3] != precision:
            return verified
        if how == "fails":
            raise GoldenMismatch("golden requests are answered otherwise")
        return replace(verified, quality=WRONG)

    patch.setattr(best, "verify_package", verify)


@pytest.mark.parametrize("how", ["fails", "misses quality"])
@pytest.mark.parametrize("others", [True, False])
def test_a_spared_one_has_its_turn_when_its_rival_does_not_hold_as_served(
    world: World, monkeypatch: pytest.MonkeyPatch, how: str, others: bool
) -> None:
    """It is faster than the exact one, which would be all that is left."""
    bold, exact = make_outcome(world, "int8", 1.0, 0.05), make_outcome(world, "fp32", 30.0, 0.0)
    spoil(monkeypatch, "int8", how)
    skipped = [spare(world, "careful", "int8"), spare(world, "another", "fp32")]
    result = publish(world, [exact, bold] if others else [bold], BUDGET, skipped=skipped)
    assert (result.end, result.manifest.verdict.chosen) == ("published", "careful")
    assert (world.checks, world.timings) == (["careful"], [["careful"]])
    statuses = {c.id: c.status for c in result.manifest.candidates}
    assert statuses["int8"] == ("failed" if how == "fails" else "quality_missed")
    assert statuses["careful"] == "kept"
    assert [record.what for record in result.manifest.rejected] == ["another"]


def test_a_spared_one_stays_where_its_rival_is_only_late(world: World) -> None:
    """More precautions do not make it faster."""
    world.served_ms = {"int8": 70.0}
    result = publish(world, [make_outcome(world, "int8", 5.0, 0.05)], BUDGET, skipped=[spare(world, "careful", "int8")])
    assert (result.end, world.checks) == ("budget_missed", [])


def test_when_the_time_is_over_that_is_told_of_a_spared_one(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    spoil(monkeypatch, "int8", "fails")
    monkeypatch.setattr(TimeLimit, "is_over", property(lambda _: True))
    outcomes = [make_outcome(world, "int8", 5.0, 0.05), make_outcome(world, "fp32", 30.0, 0.0)]
    result = publish(world, outcomes, BUDGET, skipped=[spare(world, "careful", "int8")])
    assert (result.manifest.verdict.chosen, world.checks) == ("fp32", [])
    assert "with more precautions, was not tried" in result.manifest.verdict.reasons[-1]
    assert "max_minutes were over" in result.manifest.rejected[0].reason


@pytest.mark.parametrize(("budget", "served"), [("latency_ms", ["int8"]), ("throughput_per_s", ["int8", "fp32"])])
def test_only_a_missed_latency_speaks_against_the_slower_ones(world: World, budget: str, served: list[str]) -> None:
    """Of many clients the slower one may answer more: its calls may share the cores better."""
    world.served_ms = {"int8": 50.0, "fp32": 10.0}
    bound = {"latency_ms": 40, "throughput_per_s": 50}[budget]
    outcomes = [make_outcome(world, "fp32", 20.0, 0.0), make_outcome(world, "int8", 5.0, 0.05)]
    publish(world, outcomes, f"[budget]\n{budget} = {bound}")
    assert world.served == served


def test_the_selections_own_choice_has_its_turn_after_a_near_rival(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rival is faster for one caller, and its latency is missed as served."""
    own, rival = make_outcome(world, "fp32", 20.0, 0.0), make_outcome(world, "int8", 5.0, 0.05)

    def choose(finder: WayFinder, chosen: Outcome, rivals: Sequence[Outcome]) -> Service:
        near = next((o for o in rivals if o.candidate.id == "int8"), chosen)
        return Service(near, finder._packing.rule, ())

    monkeypatch.setattr(WayFinder, "choose", choose)
    world.served_ms = {"int8": 70.0, "fp32": 30.0}
    result = publish(world, [own, rival], BUDGET, "[optimize]\ngoal = 'size'")
    assert world.served == ["int8", "fp32"]
    assert result.manifest.verdict.chosen == "fp32"


def test_those_left_behind_are_not_forgotten_after_a_second_miss(world: World) -> None:
    """The first miss leaves one that was timed for long; the next leaves those that were not."""
    first, second = make_outcome(world, "fp32", 20.0, 0.0), make_outcome(world, "int8", 10.0, 0.05)
    behind = replace(make_outcome(world, "bf16", 5.0, 0.0), is_rough=True)
    world.served_ms = {"fp32": 70.0, "int8": 60.0, "bf16": 10.0}
    result = publish(world, [first, second, behind], BUDGET, "[optimize]\ngoal = 'size'")
    assert world.served == ["fp32", "int8", "bf16"]
    assert result.manifest.verdict.chosen == "bf16"
