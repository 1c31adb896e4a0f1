"""What becomes of job bundles beside packages; test_imported.py has whole imports."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from driver_world import World, snapshot
from packc.driver.endings import publish_jobs, publish_package
from packc.driver.inputs import BuildInputs
from packc.driver.job_folder import (
    find_bundle,
    find_jobs,
    keep_results,
    list_bundle_files,
    refuse_to_lose_results,
    set_aside,
)
from packc.driver.verdict import record_findings
from packc.errors import UsageError
from packc.jobs.result_files import hash_file
from packc.package.manifest import Manifest, MeasurementRecord
from packc.package.manifest_file import read_manifest, write_manifest
from packc.package.publish import staging_dir
from packc.plan import Plan
from packc.select import Outcome, Verdict
from packc.target_profiles import find_target

MET = Verdict(True, "base", ("budget met",), (), None)
TIMED = MeasurementRecord(1.0, 1.0, 1e3, 1.0, 100.0, 0.1, None)


@pytest.fixture
def elsewhere(world: World) -> BuildInputs:
    """Inputs for a CPU with more cores than this machine has; two candidates got bundles."""
    inputs = world.gather(target=find_target("cpu-amd-genoa", world.folder))
    world.ways["other"] = world.ways["base"]
    export_jobs(world, inputs)
    return inputs


def export_jobs(world: World, inputs: BuildInputs) -> None:
    publish_jobs(inputs, Plan(tuple(world.candidates()), ()), world.make_trial(), world.final, ("spec.toml",))


def make_package(inputs: BuildInputs, world: World, *measured: str) -> Manifest:
    """The record of a package of the bundles' results."""
    outcomes = [Outcome(candidate, None, None, None, "not run", ()) for candidate in world.candidates()]
    manifest = record_findings(inputs.make_findings(outcomes, ()), "measured", MET)
    records = tuple(
        dataclasses.replace(r, measurements=TIMED if r.id in measured else None) for r in manifest.candidates
    )
    return dataclasses.replace(manifest, candidates=records)


def publish_made(manifest: Manifest, final: Path) -> None:
    with staging_dir(final) as staging:
        publish_package(staging, final, manifest)


def write_result(bundle: Path, status: str = "ok", **changes: str) -> None:
    bundle.mkdir(exist_ok=True, parents=True)
    (bundle / "job.json").touch()
    result = {"status": status, "failure": None, "load_s": 0.0, "peak_rss_mib": 0.0, "times": [], "answers": None}
    told = {"device": "GPU", "versions": [], "job_sha256": hash_file(bundle / "job.json")}
    (bundle / "result.json").write_text(json.dumps({**result, **told, **changes}))


def test_files_of_bundles_are_those_of_the_build(world: World, elsewhere: BuildInputs) -> None:
    files = list_bundle_files(read_manifest(world.final))
    assert files.keys() == {"base", "other"}
    assert {"job.json", "run.py", "model/model.onnx"} <= files["base"].keys()


def test_bundles_stay_until_the_package_has_figures_of_all(world: World, elsewhere: BuildInputs) -> None:
    before = snapshot(world.final)
    publish_made(dataclasses.replace(make_package(elsewhere, world, "base"), build_key="other budget"), world.final)
    assert find_jobs(world.final) == world.jobs
    assert snapshot(world.jobs) == before
    publish_made(make_package(elsewhere, world, "other"), world.final)
    assert snapshot(world.jobs) == before
    publish_made(make_package(elsewhere, world, "base", "other"), world.final)
    assert sorted(path.name for path in world.final.parent.iterdir()) == ["cpu"]


def test_bundles_of_another_build_do_not_stay(world: World, elsewhere: BuildInputs) -> None:
    package = dataclasses.replace(make_package(elsewhere, world, "base"), jobs_key="another")
    assert not set_aside(world.final, package)
    publish_made(package, world.final)
    assert sorted(path.name for path in world.final.parent.iterdir()) == ["cpu"]
    assert not set_aside(world.final, make_package(elsewhere, world)), "a package is no folder of bundles"


def is_any(_: Path) -> bool:
    return True


def is_old(place: Path) -> bool:
    return place.parent.name == "old"


def test_a_bundle_is_taken_from_where_it_went_well(tmp_path: Path) -> None:
    new, old = tmp_path / "new", tmp_path / "old"
    assert find_bundle("a", (new, old), is_any) == new / "a"
    write_result(old / "a", "failed")
    assert find_bundle("a", (new, old), is_any) == old / "a"
    write_result(new / "a", "failed")
    assert find_bundle("a", (new, old), is_any) == new / "a"
    write_result(old / "a")
    assert find_bundle("a", (new, old), is_any) == old / "a", "a run in the wrong Python hides no good one"
    write_result(new / "a")
    assert find_bundle("a", (new, old), is_any) == new / "a"


def test_a_bundle_that_came_back_damaged_hides_no_whole_one(tmp_path: Path) -> None:
    new, old = tmp_path / "new", tmp_path / "old"
    for folder in (new, old):
        write_result(folder / "a")
    (new / "a" / "result.json").write_text((new / "a" / "result.json").read_text()[:-9])
    assert find_bundle("a", (new, old), is_any) == old / "a", "cut short"
    write_result(new / "a", answers="answers.npz", answers_sha256=hash_file(old / "a" / "job.json"))
    assert find_bundle("a", (new, old), is_any) == old / "a", "without its answers"
    (new / "a" / "answers.npz").write_text("half of the ans")
    assert find_bundle("a", (new, old), is_any) == old / "a", "with half of them"
    (new / "a" / "answers.npz").write_bytes(b"")
    assert find_bundle("a", (new, old), is_any) == new / "a"
    assert find_bundle("a", (new, old), is_old) == old / "a", "of another build"


def test_results_are_kept_while_others_are_missing(world: World, elsewhere: BuildInputs) -> None:
    search = world.search()
    built, came = read_manifest(world.final), world.folder / "came"
    for name in ("base", "other"):
        write_result(came / name)
        for file in ("run.py", "model/model.plan", "__pycache__/engine.pyc"):
            (came / name / file).parent.mkdir(exist_ok=True)
            (came / name / file).write_text("of the device")
    before = snapshot(world.final)
    keep_results(list(search.values()), came, built, world.final)
    assert snapshot(world.final) == before, "nothing is missing"
    outcomes = [search["base"], dataclasses.replace(search["other"], measurement=None)]
    keep_results(outcomes, world.final / "job", built, world.final)
    assert snapshot(world.final) == before, "they are there"
    keep_results(outcomes, came, built, world.final)
    added = {name for name, content in snapshot(world.final).items() if before.get(name) != content}
    assert added == {"job/base/result.json", "job/base/model/model.plan"}, "but no file of the build's own"
    keep_results(outcomes, came, built, world.folder / "gone")
    assert not (world.folder / "gone").exists()


@pytest.mark.parametrize("name", ["result.json", "answers.npz", "model/model.plan"])
def test_results_of_a_device_are_not_replaced(world: World, elsewhere: BuildInputs, name: str) -> None:
    refuse_to_lose_results(world.final, elsewhere)
    result = world.final / "job" / "base" / name
    result.write_text("from the device")
    with pytest.raises(UsageError, match=f"cpu/job: results of a device are here, such as job/base/{name}") as error:
        refuse_to_lose_results(world.final, elsewhere)
    assert error.value.hint == "`pack import` them, or move the folder away first"
    world.final.rename(world.folder / "aside")
    publish_made(make_package(elsewhere, world), world.final)
    (world.folder / "aside").rename(world.jobs)
    with pytest.raises(UsageError, match=r"cpu\.jobs/job: results of a device are here"):
        refuse_to_lose_results(world.final, elsewhere)


def test_results_of_another_build_cannot_be_imported_as_they_are(world: World, elsewhere: BuildInputs) -> None:
    """To say `pack import` would send people in a circle: it says that they are of another build."""
    write_result(world.final / "job" / "base")
    other = world.gather("[targets.cpu.quality]\nmin = 0.2", target=elsewhere.target)
    with pytest.raises(UsageError, match=r"result\.json, of another build: \[quality\] changed since") as error:
        refuse_to_lose_results(world.final, other)
    assert error.value.hint == "move the folder away to build new bundles, or undo the change and `pack import` these"
    loose = world.gather("[budget]\nlatency_ms = 10", target=elsewhere.target)
    with pytest.raises(UsageError) as error:
        refuse_to_lose_results(world.final, loose)
    assert error.value.hint == "`pack import` them, or move the folder away first"


def test_runs_that_failed_are_no_loss(world: World, elsewhere: BuildInputs) -> None:
    jobs = world.final / "job"
    write_result(jobs / "base", "failed")
    (jobs / "base" / "model" / "model.plan").write_text("built before it failed")
    refuse_to_lose_results(world.final, elsewhere)
    write_result(jobs / "good", "ok")
    with pytest.raises(UsageError, match=r"results of a device are here, such as job/good/result\.json"):
        refuse_to_lose_results(world.final, elsewhere)


def test_what_the_package_has_is_no_loss(world: World, elsewhere: BuildInputs) -> None:
    write_result(world.final / "job" / "base")
    publish_made(make_package(elsewhere, world, "base"), world.final)
    refuse_to_lose_results(world.final, elsewhere)
    write_result(world.jobs / "job" / "other")
    with pytest.raises(UsageError, match=r"such as job/other/result\.json"):
        refuse_to_lose_results(world.final, elsewhere)
    (world.jobs / "job" / "other" / "result.json").unlink()
    write_manifest(world.final, dataclasses.replace(read_manifest(world.final), build_key="another"))
    with pytest.raises(UsageError, match=r"such as job/base/result\.json"):
        refuse_to_lose_results(world.final, elsewhere)
