"""What is published when the server has the last word."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from driver_builds import BUDGET, make_outcome, publish
from driver_world import Way, World, write_tensors
from packc.candidate import PassStep
from packc.driver import best, packing
from packc.driver.ways import Service
from packc.errors import MissingError, PackError, SourceError
from packc.report.view import make_rows
from packc.select import Outcome
from packc.server.libraries import LibraryMissing
from packc.server.replay import GoldenMismatch
from packc.server.verify import Workload
from packc.serving import ServingPlan
from packc.target import TargetKind


@pytest.fixture
def pair(world: World) -> list[Outcome]:
    """fp32 is slower and exact, so it is chosen where the goal is size (they are of one size); int8 is faster."""
    return [make_outcome(world, "fp32", 20.0, 0.0), make_outcome(world, "int8", 5.0, 0.05)]


SMALLEST = "[optimize]\ngoal = 'size'"


def test_the_served_figure_decides(world: World, pair: list[Outcome]) -> None:
    world.served_ms = {"int8": 10.0}
    result = publish(world, pair, BUDGET)
    assert (result.end, result.folder, result.manifest.state) == ("published", world.final, "verified")
    assert world.served == ["int8"]
    assert result.manifest.verdict.chosen == "int8"
    assert result.manifest.verdict.reasons[0].startswith("budget met: p99 10 ms of 50 ms")
    assert "served" in result.manifest.verdict.reasons[0]
    assert result.manifest.served is not None
    assert result.manifest.served.latency_ms == 10.0
    assert (world.final / "model_repository/tiny/1/model.onnx").is_file()


def test_a_faster_one_has_its_turn_when_the_budget_is_missed_as_served(world: World, pair: list[Outcome]) -> None:
    world.served_ms = {"fp32": 70.0, "int8": 30.0}
    result = publish(world, pair, BUDGET, SMALLEST)
    assert world.served == ["fp32", "int8"]
    assert (result.end, result.manifest.verdict.chosen, result.manifest.verdict.met) == ("published", "int8", True)
    assert {c.id: c.status for c in result.manifest.candidates} == {"fp32": "budget_missed", "int8": "kept"}
    reasons = result.manifest.verdict.reasons
    assert "the only candidate left: 1 MiB" in reasons
    assert reasons[-1] == "also tried: budget missed: p99 70 ms of 50 ms, 40 % over (fp32 served, 1 client)"


def test_one_that_was_left_behind_has_its_turn_when_the_best_cannot_be_served(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    break_serving(monkeypatch, "int8")
    world.ways |= {"base": Way(), "quick": Way(precision="int8")}
    outcomes = list(world.search().values())
    behind = [replace(o, is_rough=True) if o.candidate.id == "base" else o for o in outcomes]
    result = publish(world, behind)
    assert world.timings[-1] == ["base"]
    assert (result.end, result.manifest.verdict.chosen) == ("published", "base")
    assert {c.id: c.status for c in result.manifest.candidates} == {"base": "kept", "quick": "failed"}


def test_a_slower_one_is_not_tried(world: World, pair: list[Outcome]) -> None:
    world.served_ms = {"int8": 70.0}
    result = publish(world, pair, BUDGET)
    assert result.end == "budget_missed"
    assert world.served == ["int8"]
    assert result.manifest.verdict.reasons[-1] == "not served, being slower for one caller: fp32"
    assert {row.record.id: row.words for row in make_rows(result.manifest)} == {
        "fp32": "kept, not served",
        "int8": "over budget",
    }


def test_a_refused_one_is_never_tried(world: World, pair: list[Outcome]) -> None:
    """The rough figures of a candidate below the quality bound do not bring it back."""
    world.served_ms = {"int8": 70.0}
    for allow_miss in (False, True):
        refused = make_outcome(world, "int4", 1.0, 0.9)
        result = publish(world, [*pair, refused], BUDGET, allow_miss=allow_miss)
        assert result.end == ("published" if allow_miss else "budget_missed")
        assert {miss.candidate for miss in result.manifest.verdict.nearest} == {"int8"}
    assert world.served == ["int8", "int8"]


def test_when_all_miss_as_served_the_nearest_are_named(world: World, pair: list[Outcome]) -> None:
    world.served_ms = {"fp32": 60.0, "int8": 75.0}
    result = publish(world, pair, BUDGET, SMALLEST)
    assert (result.end, result.folder) == ("budget_missed", world.missed)
    assert not world.final.exists()
    verdict = result.manifest.verdict
    assert (verdict.met, verdict.chosen) == (False, None)
    assert verdict.reasons[0].startswith("budget missed: p99 60 ms of 50 ms, 20 % over")
    assert verdict.reasons[-1] == "next: budget missed: p99 75 ms of 50 ms, 50 % over (int8 served, 1 client)"
    assert [(miss.candidate, miss.measured) for miss in verdict.nearest] == [("fp32", 60.0), ("int8", 75.0)]
    assert result.manifest.served is not None
    assert result.manifest.served.latency_ms == 60.0
    assert result.manifest.state == "measured"


@pytest.mark.parametrize("allow_miss", [False, True])
def test_a_missed_budget_says_which_load_keeps_it(world: World, pair: list[Outcome], allow_miss: bool) -> None:
    world.served_ms = {"int8": 75.0}
    world.probe = lambda instances, threads, traffic: 15.0 * traffic.concurrency
    result = publish(world, pair, "[workload]\nconcurrency = 5", BUDGET, allow_miss=allow_miss)
    assert result.manifest.verdict.reasons[0].startswith("budget missed: p99 75 ms of 50 ms")
    assert result.manifest.verdict.reasons[1] == "kept up to 3 clients: p99 45 ms, 66.7 samples/s"
    world.probe = lambda instances, threads, traffic: 75.0
    result = publish(world, pair, "[workload]\nconcurrency = 5", BUDGET, allow_miss=allow_miss)
    assert result.manifest.verdict.reasons[1] == "p99 is not kept with one client either"


def test_what_was_tried_is_recorded(world: World, pair: list[Outcome]) -> None:
    world.probe = lambda instances, threads, traffic: 20.0
    serving = publish(world, pair, "[workload]\nconcurrency = 2", BUDGET).manifest.serving
    assert serving is not None
    assert serving.tried[0].is_fitted
    assert [item.is_chosen for item in serving.tried].count(True) == 1
    assert all(item.served and item.predicted for item in serving.tried)
    chosen = next(item for item in serving.tried if item.is_chosen)
    assert (chosen.candidate, chosen.instances, chosen.threads) == ("int8", serving.instances, serving.threads)


def test_a_rival_that_does_better_as_served_is_published(
    world: World, pair: list[Outcome], monkeypatch: pytest.MonkeyPatch
) -> None:
    exact, _ = pair
    monkeypatch.setattr(
        best.WayFinder, "choose", lambda finder, chosen, rivals: Service(exact, finder._packing.rule, ())
    )
    verdict = publish(world, pair, BUDGET).manifest.verdict
    assert (verdict.chosen, verdict.met, world.served) == ("fp32", True, ["fp32"])
    assert "better as served than int8, which one caller would put first for its latency: p50 20 ms" in verdict.reasons


def test_allow_miss_publishes_the_nearest_as_served(world: World, pair: list[Outcome]) -> None:
    world.served_ms = {"fp32": 60.0, "int8": 75.0}
    result = publish(world, pair, BUDGET, SMALLEST, allow_miss=True)
    assert (result.end, result.folder, result.manifest.state) == ("published", world.final, "verified")
    assert (result.manifest.verdict.met, result.manifest.verdict.chosen) == (False, "fp32")
    assert [miss.measured for miss in result.manifest.verdict.nearest] == [60.0]
    assert (world.final / "model_repository/tiny/config.pbtxt").is_file()


def test_allow_miss_takes_the_selections_nearest_through_the_server(world: World, pair: list[Outcome]) -> None:
    result = publish(world, pair, "[budget]\nlatency_ms = 1", allow_miss=True)
    assert (result.end, result.manifest.state, world.served) == ("published", "verified", ["int8"])
    assert (result.manifest.verdict.met, result.manifest.verdict.chosen) == (False, "int8")
    assert result.manifest.verdict.nearest[0].measured == 5.0


def test_nothing_is_packaged_when_no_candidate_keeps_its_promises(world: World, pair: list[Outcome]) -> None:
    result = publish(world, pair, "[budget]\nlatency_ms = 1")
    assert (result.end, result.manifest.state, world.served) == ("budget_missed", "measured", [])
    assert sorted(path.name for path in world.final.parent.iterdir()) == ["cpu.missed"]


def test_without_a_server_the_measured_figure_decides(world: World, pair: list[Outcome]) -> None:
    result = publish(world, pair, BUDGET, verify=False)
    assert (result.end, result.manifest.state, world.served) == ("published", "measured", [])
    assert result.manifest.served is None


def test_a_server_that_fails_leaves_nothing(world: World, pair: list[Outcome], monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise PackError("the server stopped")

    monkeypatch.setattr(best, "verify_package", fail)
    with pytest.raises(PackError, match="the server stopped"):
        publish(world, pair)
    assert not _list_all(world.folder / "build")


def _list_all(folder: Path) -> list[Path]:
    return list(folder.rglob("*"))


def break_serving(monkeypatch: pytest.MonkeyPatch, *broken: str, error: PackError | None = None) -> None:
    """No package of a `broken` precision goes through the server: `error`, or golden answers that differ."""
    serve = best.verify_package
    failure = error or GoldenMismatch("2 of 9 golden requests\n  are answered otherwise")

    def fail(package: Path, model: str, workload: object, precision: str, **options: object) -> object:
        if precision in broken:
            raise failure
        return serve(package, model, workload, precision, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(best, "verify_package", fail)


@pytest.mark.parametrize("allow_miss", [False, True])
def test_one_that_cannot_be_served_costs_only_itself(
    world: World, pair: list[Outcome], monkeypatch: pytest.MonkeyPatch, allow_miss: bool
) -> None:
    break_serving(monkeypatch, "int8")
    result = publish(world, pair, BUDGET, allow_miss=allow_miss)
    assert (result.end, result.manifest.verdict.chosen, result.manifest.verdict.met) == ("published", "fp32", True)
    reason = "int8 failed as served: 2 of 9 golden requests are answered otherwise"
    assert result.manifest.verdict.reasons[-1] == f"also tried: {reason}"
    assert {c.id: c.status for c in result.manifest.candidates} == {"fp32": "kept", "int8": "failed"}


def test_one_whose_library_is_missing_costs_only_itself(
    world: World, pair: list[Outcome], monkeypatch: pytest.MonkeyPatch
) -> None:
    break_serving(monkeypatch, "int8", error=LibraryMissing("the Triton server lacks torch==2.0"))
    result = publish(world, pair, BUDGET)
    assert (result.end, result.manifest.verdict.chosen) == ("published", "fp32")
    assert result.manifest.verdict.reasons[-1].endswith("int8 failed as served: the Triton server lacks torch==2.0")
    assert {c.id: c.failure for c in result.manifest.candidates}["int8"] == "the Triton server lacks torch==2.0"


def test_a_missing_server_ends_the_build(world: World, pair: list[Outcome], monkeypatch: pytest.MonkeyPatch) -> None:
    break_serving(monkeypatch, "int8", error=MissingError("there is no Triton server here"))
    with pytest.raises(MissingError, match="there is no Triton server here"):
        publish(world, pair, BUDGET)


@pytest.mark.parametrize("verify", [False, True])
def test_one_that_cannot_be_packaged_costs_only_itself(
    world: World, pair: list[Outcome], monkeypatch: pytest.MonkeyPatch, verify: bool
) -> None:
    break_packaging(monkeypatch, SourceError("its answer has no fixed shape"))
    result = publish(world, pair, BUDGET, verify=verify)
    assert (result.end, result.manifest.verdict.chosen) == ("published", "fp32")
    reason = "also tried: int8 cannot be packaged: its answer has no fixed shape"
    assert result.manifest.verdict.reasons[-1] == reason
    break_packaging(monkeypatch, MissingError("tritonclient is not installed"))
    with pytest.raises(MissingError):
        publish(world, pair, BUDGET, verify=verify)


def break_packaging(monkeypatch: pytest.MonkeyPatch, error: PackError) -> None:
    write = packing.write_package

    def fail(staging: Path, **parts: Any) -> None:
        if parts["candidate"].id == "int8":
            raise error
        write(staging, **parts)

    monkeypatch.setattr(packing, "write_package", fail)


@pytest.mark.parametrize("allow_miss", [False, True])
def test_when_none_can_be_served_nothing_is_published(
    world: World, pair: list[Outcome], monkeypatch: pytest.MonkeyPatch, allow_miss: bool
) -> None:
    break_serving(monkeypatch, "int8", "fp32")
    result = publish(world, pair, BUDGET, allow_miss=allow_miss)
    assert (result.end, result.folder, result.manifest.state) == ("failed", world.missed, "measured")
    assert [reason[:21] for reason in result.manifest.verdict.reasons] == [
        "int8 failed as served", "fp32 failed as served",
    ]  # fmt: skip
    assert not world.final.exists()


def test_throughput_is_what_the_server_says(world: World, pair: list[Outcome]) -> None:
    """Measured, int8 answers 200 samples a second; the stand-in server answers 1000 / its milliseconds."""
    world.served_ms = {"int8": 2.0}
    floor = "[budget]\nthroughput_per_s = 400"
    result = publish(world, pair, floor)
    assert (result.end, result.manifest.verdict.met) == ("published", True)
    assert {c.status for c in result.manifest.candidates} == {"kept"}
    assert result.manifest.promises.throughput_per_s == 400
    assert publish(world, pair, floor, verify=False).end == "budget_missed"
    world.served_ms = {"int8": 5.0}
    assert publish(world, pair, floor).end == "budget_missed"


def test_several_instances_have_to_keep_the_memory_together(
    world: World, pair: list[Outcome], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each takes 800 MiB, of fp32 400: two of that fit."""
    mib = {"int8": 800.0, "fp32": 400.0}
    two = ServingPlan(2, 1, 8, 0, ())
    monkeypatch.setattr(best.WayFinder, "choose", lambda self, chosen, rivals: Service(chosen, two, ()))
    monkeypatch.setattr(best.WayFinder, "find_known_mib", lambda self, outcome: mib[outcome.candidate.id])
    result = publish(world, pair, "[budget]\nmemory_mib = 1000")
    assert (result.end, result.manifest.verdict.chosen) == ("published", "fp32")
    assert {c.id: c.status for c in result.manifest.candidates} == {"fp32": "kept", "int8": "budget_missed"}
    reasons = result.manifest.verdict.reasons
    assert "without the server: GPU memory 2 x 400 MiB of 1,000 MiB" in reasons
    assert reasons[-1] == "also tried: budget missed: GPU memory 2 x 800 MiB of 1,000 MiB, 60 % over (int8)"
    mib["fp32"] = 501.0
    assert publish(world, pair, "[budget]\nmemory_mib = 1000").end == "budget_missed"


@pytest.mark.parametrize(("kind", "warm"), [("cuda", 2), ("cpu", 0)])
def test_the_load_on_a_gpu_is_of_warm_instances(
    world: World, pair: list[Outcome], monkeypatch: pytest.MonkeyPatch, kind: TargetKind, warm: int
) -> None:
    plan, seen = ServingPlan(2, 1, 8, 0, ()), []
    verify = best.verify_package

    def note(package: Path, model: str, workload: Workload, *rest: Any, **options: Any) -> Any:
        seen.append(workload.warm_instances)
        return verify(package, model, workload, *rest, **options)

    monkeypatch.setattr(best, "verify_package", note)
    monkeypatch.setattr(best.WayFinder, "choose", lambda self, chosen, rivals: Service(chosen, plan, ()))
    gather = world.gather
    monkeypatch.setattr(
        World,
        "gather",
        lambda self, *s, **o: replace(found := gather(*s, **o), target=replace(found.target, kind=kind)),
    )
    publish(world, pair)
    assert seen == [warm]


def test_quality_judged_on_calibration_data_is_said(world: World, pair: list[Outcome]) -> None:
    write_tensors(world.folder / "eval.npz")
    write_tensors(world.folder / "calib.npz", seed=1)
    calibrated = replace(pair[1].candidate, passes=(PassStep("quantize_static"),))
    outcomes = [pair[0], replace(pair[1], candidate=calibrated)]
    caveat = "quality was judged on the samples that quantization was calibrated on"
    own = '[calibration]\ndata = "calib.npz"'
    for sections, is_said in ((('data = "eval.npz"',), True), (('data = "eval.npz"', own), False), ((), False)):
        reasons = publish(world, outcomes, *sections).manifest.verdict.reasons
        assert (caveat in reasons) == is_said
