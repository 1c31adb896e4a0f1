"""What comes back from a device elsewhere, and what becomes of it."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import pytest

from driver_world import Way, World
from engines import make_stamp, write_engine
from packc.driver.endings import BuildOptions, TargetResult
from packc.driver.imported import import_results
from packc.errors import PackError, UsageError
from packc.package.manifest_file import check_files, read_manifest
from packc.target_profiles import find_target

GENOA = find_target("cpu-amd-genoa", Path())


def build(world: World, *sections: str, jobs: Path | None = None) -> TargetResult:
    return world.build(*sections, target=GENOA, options=BuildOptions(verify=jobs is None, jobs=jobs))


def run_jobs(folder: Path) -> None:
    """As README.md says, with few calls."""
    for bundle in folder.iterdir():
        job = json.loads((bundle / "job.json").read_text())
        for effort in job["efforts"]:
            effort |= {"warmup": 0, "min_calls": 3, "min_seconds": 0.0}
        (bundle / "job.json").write_text(json.dumps(job))
        subprocess.run([sys.executable, "run.py", "--rounds", "2"], cwd=bundle, check=True, capture_output=True)


@pytest.fixture
def jobs(world: World) -> Path:
    """Bundles of a slow and a fast candidate that were built for a CPU elsewhere, with options that a device runs."""
    world.ways |= {"fast": Way(ms=0.2), "wrong": Way(error=0.5)}
    assert build(world).end == "built"
    assert sorted(path.name for path in (world.final / "job").iterdir()) == ["base", "fast"]
    return world.final / "job"


def test_the_best_of_what_was_measured_is_packaged(world: World, jobs: Path) -> None:
    run_jobs(jobs)
    result = build(world, jobs=jobs)
    manifest = read_manifest(world.final)
    assert (result.end, manifest.state, manifest.verdict.chosen) == ("published", "measured", "fast")
    statuses = {candidate.id: candidate.status for candidate in manifest.candidates}
    assert statuses == {"base": "kept", "fast": "kept", "wrong": "quality_missed"}
    assert check_files(world.final, manifest) == []
    assert (world.final / "model_repository").is_dir()
    assert world.served == [], "nothing is served here"
    assert manifest.environment["device"] != GENOA.name, "what it ran on, not what it is for"
    assert manifest.environment["stub on the device"] == "1.0"


def test_the_answers_of_the_device_are_what_is_judged(world: World, jobs: Path) -> None:
    options = json.loads((jobs / "fast" / "job.json").read_text())
    options["options"]["error"] = 0.5  # as a device whose kernels are less exact
    (jobs / "fast" / "job.json").write_text(json.dumps(options))
    run_jobs(jobs)
    assert build(world, jobs=jobs).manifest.verdict.chosen == "base"
    statuses = {candidate.id: candidate.status for candidate in read_manifest(world.final).candidates}
    assert statuses["fast"] == "quality_missed"


def test_bundles_that_failed_or_did_not_run_cost_themselves_alone(world: World, jobs: Path) -> None:
    run_jobs(jobs)
    (jobs / "fast" / "result.json").unlink()
    manifest = build(world, jobs=jobs).manifest
    failures = {candidate.id: candidate.failure for candidate in manifest.candidates}
    assert manifest.verdict.chosen == "base"
    assert failures["fast"] == "there is no result.json of its job bundle: it did not run on the device"


def test_bundles_of_another_build_are_refused(world: World, jobs: Path) -> None:
    run_jobs(jobs)
    with pytest.raises(UsageError, match="its job bundles are of another build"):
        build(world, "[budget]\nlatency_ms = 3", jobs=jobs)


def test_where_nothing_ran_there_is_nothing_to_import(world: World, jobs: Path) -> None:
    with pytest.raises(PackError, match=r"no job bundle was measured: base and 1 more: there is no result\.json"):
        build(world, jobs=jobs)
    assert read_manifest(world.final).state == "built"


def test_a_package_is_no_folder_of_bundles(world: World, jobs: Path) -> None:
    run_jobs(jobs)
    copy = world.folder / "back"
    jobs.rename(copy)
    build(world, jobs=copy)
    with pytest.raises(UsageError, match="holds no job bundles: its state is measured"):
        build(world, jobs=copy)


def test_a_target_that_is_here_is_measured_by_a_build(world: World, jobs: Path) -> None:
    with pytest.raises(UsageError, match="is this machine, so nothing is to be imported"):
        world.build(options=BuildOptions(jobs=jobs))


def test_another_device_than_the_targets_is_refused(world: World, jobs: Path) -> None:
    run_jobs(jobs)
    trial = world.make_trial()
    outcomes = list(world.search(exhaustive=True).values())
    rough = [dataclasses.replace(outcome, is_rough=True) for outcome in outcomes]
    h200 = dataclasses.replace(GENOA, name="NVIDIA H200 SXM", driver_names=("NVIDIA H200",))
    with pytest.raises(PackError, match="which is not NVIDIA H200 SXM"):
        import_results(rough, jobs, trial, h200)
    result = json.loads((jobs / "base" / "result.json").read_text()) | {"device": "another"}
    (jobs / "base" / "result.json").write_text(json.dumps(result))
    with pytest.raises(PackError, match=r"the bundles ran on different devices: .*another"):
        import_results(rough, jobs, trial, GENOA)


def test_the_engine_that_the_device_made_is_what_is_packaged(world: World, jobs: Path) -> None:
    run_jobs(jobs)
    trial = world.make_trial()
    rough = [dataclasses.replace(outcome, is_rough=True) for outcome in world.search(exhaustive=True).values()]
    device = json.loads((jobs / "fast" / "result.json").read_text())["device"]
    source = trial.ingested.source
    facts = make_stamp(source.inputs, source.outputs, device=device, build_s=0.0)
    plan = write_engine(jobs / "fast" / "model", facts)
    taken = {outcome.candidate.id: outcome for outcome in import_results(rough, jobs, trial, GENOA)}
    assert taken["fast"].model == plan
    measured = taken["fast"].measurement
    assert measured is not None
    files = (plan, plan.with_suffix(".json"))
    assert measured.size_mib == sum(file.stat().st_size for file in files) / 2**20, "without the graph"
    assert (measured.load_s, measured.peak_rss_mib) == (None, None), "the run built it as well"
    base = taken["base"].measurement
    assert base is not None
    assert None not in (base.load_s, base.peak_rss_mib)
    assert taken["base"].model != plan
    write_engine(plan.parent, make_stamp(source.inputs, source.outputs))
    refused = {outcome.candidate.id: outcome for outcome in import_results(rough, jobs, trial, GENOA)}
    assert "is an engine of TensorRT 8.6.0 for NVIDIA H200" in (refused["fast"].failure or "")
    assert refused["fast"].measurement is None
    write_engine(plan.parent, make_stamp(source.inputs, source.outputs, device=device))
    older = dataclasses.replace(GENOA, compute_capability="8.0")
    refused = {outcome.candidate.id: outcome for outcome in import_results(rough, jobs, trial, older)}
    assert (refused["fast"].failure or "").endswith("has 8.0")
