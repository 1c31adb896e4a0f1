"""What each ending leaves on disk."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import pytest

from driver_world import Way, World, snapshot
from packc.candidate import Candidate, PassStep, Rejection
from packc.driver import evaluate
from packc.driver.endings import (
    publish_jobs,
    publish_miss,
    publish_package,
    publish_plan,
)
from packc.driver.imported import recall_training
from packc.driver.inputs import BuildInputs
from packc.driver.job_folder import find_jobs
from packc.driver.verdict import record_findings
from packc.ingest.student import Training
from packc.package.manifest_file import check_files, read_manifest
from packc.package.publish import staging_dir
from packc.passes.lower import Lowered
from packc.plan import Plan
from packc.select import Miss, Verdict
from packc.target_profiles import find_target

MISS = Verdict(False, None, ("budget missed",), (Miss("base", "latency_ms", 2.0, 1.0),), "budget")
MET = Verdict(True, "base", ("budget met",), (), None)


def publish_good(world: World, inputs: BuildInputs, content: str = "good") -> None:
    with staging_dir(world.final) as staging:
        (staging / "file").write_text(content)
        publish_package(staging, world.final, record_findings(inputs.make_findings((), ()), "measured", MET))


def test_a_package_has_manifest_report_and_the_hash_of_every_other_file(world: World) -> None:
    inputs = world.gather()
    publish_good(world, inputs)
    manifest = read_manifest(world.final)
    assert (list(manifest.files), manifest.build_key) == (["file"], inputs.key)
    assert check_files(world.final, manifest) == []
    assert (world.final / "report.html").read_text().startswith("<!")


@pytest.mark.parametrize(
    ("missed", "end"), [("budget", "budget_missed"), ("quality", "quality_missed"), ("failed", "failed")]
)
def test_a_miss_stands_beside_the_good_package(world: World, missed: str, end: str) -> None:
    inputs = world.gather()
    publish_good(world, inputs)
    before = snapshot(world.final)
    verdict = dataclasses.replace(MISS, missed=missed)
    result = publish_miss(verdict, record_findings(inputs.make_findings((), ()), "measured", verdict), world.final)
    assert (result.end, result.folder) == (end, world.missed)
    assert snapshot(world.final) == before
    assert sorted(snapshot(world.missed)) == ["manifest.json", "report.html"]
    assert read_manifest(world.missed).verdict.met is False
    publish_good(world, inputs, "better")
    assert not world.missed.exists()
    assert sorted(path.name for path in world.final.parent.iterdir()) == ["cpu"]


def test_a_plan_says_why_nothing_was_built(world: World) -> None:
    target = find_target("jetson-orin-nano-8gb", world.folder)
    rejected = (Rejection("onnxruntime", "compiles for CPUs only"),)
    result = publish_plan(world.gather(target=target), Plan((), rejected), world.final)
    assert (result.end, result.manifest.state, result.manifest.verdict.met) == ("planned", "planned", None)
    assert target.name in result.manifest.verdict.reasons[0]
    assert result.manifest.rejected[0].reason == "compiles for CPUs only"
    assert sorted(snapshot(world.final)) == ["manifest.json", "report.html"]


def test_a_target_that_nothing_compiles_for_says_so_itself(world: World) -> None:
    target = find_target("aws-inf1", world.folder)
    result = publish_plan(world.gather(target=target), Plan((), ()), world.final)
    assert result.manifest.verdict.reasons == (f"nothing was built for {target.name}: {target.unsupported}",)


@pytest.fixture
def elsewhere(world: World) -> BuildInputs:
    """Inputs for a CPU with more cores than this machine has."""
    return world.gather("[budget]\npercentile = 90", target=find_target("cpu-amd-genoa", world.folder))


def export_jobs(world: World, inputs: BuildInputs) -> tuple[str, Path]:
    result = publish_jobs(inputs, Plan(tuple(world.candidates()), ()), world.make_trial(), world.final, ("spec.toml",))
    return result.end, result.folder


def test_jobs_of_a_device_elsewhere_really_run(world: World, elsewhere: BuildInputs) -> None:
    world.ways |= {"wrong": Way(error=0.5), "broken": Way(fault="raise")}
    assert export_jobs(world, elsewhere) == ("built", world.final)
    manifest = read_manifest(world.final)
    assert (manifest.state, manifest.verdict.met, manifest.verdict.chosen) == ("built", None, None)
    assert {c.id: c.status for c in manifest.candidates} == {
        "base": "built",
        "wrong": "quality_missed",
        "broken": "failed",
    }
    assert all(c.measurements is None or c.measurements.p50_ms is None for c in manifest.candidates)
    assert [path.name for path in (world.final / "job").iterdir()] == ["base"]
    bundle = world.final / "job" / "base"
    job = json.loads((bundle / "job.json").read_text())
    assert job["threads"] == elsewhere.target.units
    assert job["efforts"][0]["min_calls"] * 3 >= 1000, "as many calls as p99.9 needs, though p90 is asked for"
    for case in job["efforts"]:
        case |= {"min_calls": 3, "min_seconds": 0.0}
    (bundle / "job.json").write_text(json.dumps(job))
    subprocess.run([sys.executable, "run.py", "--rounds", "1"], cwd=bundle, check=True, capture_output=True)
    result = json.loads((bundle / "result.json").read_text())
    assert (result["status"], result["failure"]) == ("ok", None)
    assert [times["case"] for times in result["times"]] == ["typical", "max"]


@pytest.mark.parametrize("budget", ["[budget]\nlatency_ms = 0.001", "[budget]\nlatency_ms = 1000"])
def test_jobs_are_the_same_whatever_the_budget(world: World, budget: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """This machine's calls would spare the cautious candidate where they keep it, and not where they do not."""
    monkeypatch.setattr(evaluate, "lower_graph", lambda source, *_: Lowered(source.graph, ()))
    world.ways["cautious"] = Way()
    base = Candidate("base", "onnxruntime", "fp32", ())
    plan = Plan((base, dataclasses.replace(base, id="cautious", passes=(PassStep("smooth_outliers"),))), ())
    inputs = world.gather(budget, target=find_target("cpu-amd-genoa", world.folder))
    publish_jobs(inputs, plan, world.make_trial(budget), world.final, ("spec.toml",))
    assert [path.name for path in (world.final / "job").iterdir()] == ["base"]
    assert json.loads((world.final / "job" / "base" / "job.json").read_text())["build"] == inputs.jobs_key


def test_jobs_say_how_this_machine_judged_int8(world: World, elsewhere: BuildInputs) -> None:
    """The bundles themselves run as the target does."""
    plan = Plan(tuple(world.candidates()), ())
    result = publish_jobs(elsewhere, plan, world.make_trial(exact_int8=True), world.final, ("spec.toml",))
    assert "without the int8 saturation of this machine" in result.manifest.verdict.reasons[0]
    assert "exact_int8" not in json.loads((world.final / "job" / "base" / "job.json").read_text())["options"]


def test_jobs_tell_how_their_student_was_trained(world: World, elsewhere: BuildInputs) -> None:
    training, plan = Training(1, 2, 5, 1, 1.0, 0.5, 1.0, "texts.jsonl", 5), Plan(tuple(world.candidates()), ())
    result = publish_jobs(elsewhere, plan, world.make_trial(), world.final, ("spec.toml",), training)
    assert recall_training(result.manifest) == training


def test_job_bundles_share_no_file_with_the_cache(world: World, elsewhere: BuildInputs) -> None:
    export_jobs(world, elsewhere)
    files = [path for path in (world.final / "job").rglob("*") if path.is_file()]
    assert files
    assert {path.stat().st_nlink for path in files} == {1}


@pytest.mark.parametrize(("way", "end"), [(Way(error=0.5), "quality_missed"), (Way(fault="lowering"), "failed")])
def test_there_are_no_jobs_when_no_candidate_is_good_enough(
    world: World, elsewhere: BuildInputs, way: Way, end: str
) -> None:
    world.ways["base"] = way
    assert export_jobs(world, elsewhere) == (end, world.missed)
    assert not world.final.exists()
    assert read_manifest(world.missed).verdict.met is False


def test_a_plan_or_jobs_stand_beside_the_good_package(world: World, elsewhere: BuildInputs) -> None:
    publish_good(world, elsewhere)
    before = snapshot(world.final)
    assert publish_plan(elsewhere, Plan((), ()), world.final).folder == world.missed
    assert read_manifest(world.missed).state == "planned"
    assert find_jobs(world.final) == world.final
    assert export_jobs(world, elsewhere) == ("built", world.jobs)
    assert find_jobs(world.final) == world.jobs
    assert (world.jobs / "job" / "base").is_dir()
    assert not world.missed.exists()
    assert snapshot(world.final) == before
    publish_miss(MISS, record_findings(elsewhere.make_findings((), ()), "measured", MISS), world.final)
    assert (world.jobs / "job" / "base").is_dir(), "its results may be what missed"
    publish_good(world, dataclasses.replace(elsewhere, job_parts={"all": "another"}), "better")
    assert sorted(path.name for path in world.final.parent.iterdir()) == ["cpu"]
