"""What comes back from a device elsewhere, and what becomes of it."""

from __future__ import annotations

import dataclasses
import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from driver_world import StubRuntime, Way, World, snapshot
from engines import make_stamp, write_engine
from packc.driver import endings, target, timing
from packc.driver.endings import BuildOptions, TargetResult
from packc.driver.imported import check_device, import_results
from packc.driver.job_folder import find_jobs
from packc.errors import PackError, UsageError
from packc.ingest.fingerprint import hash_file
from packc.package.manifest_file import check_files, read_manifest
from packc.samples import load_samples, save_samples
from packc.select import Outcome
from packc.target import Target
from packc.target_profiles import find_target

GENOA = find_target("cpu-amd-genoa", Path())


def build(world: World, *sections: str, jobs: Path | None = None) -> TargetResult:
    return world.build(*sections, target=GENOA, options=BuildOptions(verify=jobs is None, jobs=jobs))


def run_jobs(folder: Path) -> None:
    """As README.md says."""
    for bundle in folder.iterdir():
        subprocess.run([sys.executable, "run.py", "--rounds", "2"], cwd=bundle, check=True, capture_output=True)


def edit_result(bundle: Path, **changes: Any) -> None:
    result = json.loads((bundle / "result.json").read_text())
    (bundle / "result.json").write_text(json.dumps(result | changes))


def forge_answers(bundle: Path, samples: Sequence[dict[str, Any]]) -> None:
    """As a device that answers so would have it."""
    save_samples(bundle / "answers.npz", samples)
    edit_result(bundle, answers_sha256=hash_file(bundle / "answers.npz"))


def find_failures(result: TargetResult) -> dict[str, str | None]:
    return {candidate.id: candidate.failure for candidate in result.manifest.candidates}


def take(world: World, jobs: Path, device: Target = GENOA) -> dict[str, Outcome]:
    """What `import_results` makes of the candidates, by id."""
    trial, built = world.make_trial(), read_manifest(world.final)
    return {o.candidate.id: o for o in import_results(world.candidates(), (jobs,), trial, device, built)}


@pytest.fixture
def jobs(world: World, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Bundles of a slow and a fast candidate that were built for a CPU elsewhere, with options that a device runs."""
    monkeypatch.setattr(endings, "timing_job", timing.timing_job)  # the world's, which makes few calls
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
    run_jobs(jobs)
    answers = load_samples(jobs / "fast" / "answers.npz")
    forge_answers(jobs / "fast", [{"scores": answer["scores"] + 0.5} for answer in answers])
    assert build(world, jobs=jobs).manifest.verdict.chosen == "base"
    statuses = {candidate.id: candidate.status for candidate in read_manifest(world.final).candidates}
    assert statuses["fast"] == "quality_missed"


def test_bundles_that_did_not_run_cost_themselves_alone(
    world: World, jobs: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run_jobs(jobs)
    (jobs / "fast" / "result.json").unlink()
    caplog.set_level("INFO")
    manifest = build(world, jobs=jobs).manifest
    failures = {candidate.id: candidate.failure for candidate in manifest.candidates}
    statuses = {candidate.id: candidate.status for candidate in manifest.candidates}
    assert (manifest.verdict.chosen, statuses["base"], statuses["fast"]) == ("base", "kept", "not_run")
    assert failures["fast"] == "not run on the device: there is no result.json in the job bundle"
    assert "fast: not run on the device: there is no result.json in the job bundle" in caplog.messages


def test_bundles_that_failed_cost_themselves_alone(world: World, jobs: Path) -> None:
    run_jobs(jobs)
    edit_result(jobs / "fast", status="failed", failure="out of memory")
    result = build(world, jobs=jobs)
    assert result.manifest.verdict.chosen == "base"
    assert find_failures(result)["fast"] == "on the device: out of memory"


def test_nothing_is_trained_or_checked_again(world: World, jobs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_jobs(jobs)
    monkeypatch.delattr(target, "distill_plan")
    checks = list(world.checks)
    shutil.rmtree(world.cache.root)
    result = build(world, jobs=jobs)
    assert world.checks == checks
    wrong = next(candidate for candidate in result.manifest.candidates if candidate.id == "wrong")
    assert wrong.measurements is not None
    assert wrong.measurements.quality is not None, "as the build found it"


def test_the_graph_that_ran_is_packaged_whatever_an_export_gives_now(world: World, jobs: Path) -> None:
    run_jobs(jobs)
    graph = (jobs / "fast" / "model" / "model.onnx").read_bytes()
    exported = world.ingest().source.graph
    exported.write_bytes(exported.read_bytes() + b"\x42\x00")  # the same graph with an empty domain
    shutil.rmtree(world.cache.root)
    build(world, jobs=jobs)
    packaged = next(world.final.glob("model_repository/*/1/model.onnx"))
    assert packaged.read_bytes() == graph != exported.read_bytes()


def test_bundles_beside_a_good_package_are_found_and_replace_it(world: World, jobs: Path) -> None:
    run_jobs(jobs)
    assert build(world, jobs=jobs).folder == world.final
    budget = "[budget]\nlatency_ms = 0.001"
    result = build(world, budget)
    assert (result.end, result.folder) == ("built", world.jobs)
    assert read_manifest(world.final).state == "measured"
    again = build(world, budget)
    assert (again.end, again.folder) == ("built", world.jobs)
    run_jobs(world.jobs / "job")
    with pytest.raises(UsageError, match=r"cpu\.jobs/job: results of a device are here"):
        build(world, budget)
    before = snapshot(world.jobs)
    missed = build(world, budget, jobs=world.jobs / "job")
    assert (missed.end, missed.folder) == ("budget_missed", world.missed)
    assert snapshot(world.jobs) == before, "nobody can make that again here"
    options = BuildOptions(allow_miss=True, verify=False, jobs=world.jobs / "job")
    published = world.build(budget, target=GENOA, options=options)
    assert (published.end, published.folder) == ("published", world.final)
    assert sorted(path.name for path in world.final.parent.iterdir()) == ["cpu"]


def test_a_build_does_not_replace_results(world: World, jobs: Path) -> None:
    run_jobs(jobs)
    for sections in ((), ("[budget]\nlatency_ms = 3",)):
        with pytest.raises(UsageError, match="results of a device are here"):
            build(world, *sections)
    assert (jobs / "base" / "result.json").is_file()


@pytest.mark.parametrize(
    ("samples", "failure"),
    [
        ([np.full((1, 4), np.nan)] * 12, "holds NaN or infinity"),
        ([np.ones((1, 3))] * 12, "the candidate's shape is [1, 3], the source's [1, 4]"),
        ([np.ones((1, 4))] * 11, "the candidate answered 11 samples of 12"),
    ],
)
def test_bad_answers_cost_their_candidate_alone(world: World, jobs: Path, samples: list[Any], failure: str) -> None:
    run_jobs(jobs)
    forge_answers(jobs / "fast", [{"scores": sample} for sample in samples])
    result = build(world, jobs=jobs)
    assert result.manifest.verdict.chosen == "base"
    assert failure in (find_failures(result)["fast"] or "")


def test_a_missing_output_costs_its_candidate_alone(world: World, jobs: Path) -> None:
    run_jobs(jobs)
    forge_answers(jobs / "fast", [{"others": np.ones((1, 4))}] * 12)
    result = build(world, jobs=jobs)
    assert result.manifest.verdict.chosen == "base"
    assert (find_failures(result)["fast"] or "").endswith("answers.npz: sample 0 has no output scores")


@pytest.mark.parametrize(
    ("name", "failure"),
    [
        ("result.json", "cannot be read: it is cut short, or no JSON"),
        ("answers.npz", "not what the run wrote"),
        ("job.json", "cannot be read: it is cut short"),
    ],
)
def test_a_damaged_file_costs_its_candidate_alone(world: World, jobs: Path, name: str, failure: str) -> None:
    run_jobs(jobs)
    file = jobs / "fast" / name
    file.write_bytes(file.read_bytes()[:-20])
    result = build(world, jobs=jobs)
    assert result.manifest.verdict.chosen == "base"
    told = find_failures(result)["fast"] or ""
    assert told.startswith(name), "without the folder, so that what befell several is told once"
    assert failure in told


@pytest.mark.parametrize(
    ("section", "changed"),
    [
        ("[workload]\nbatch = { typical = 2, max = 8 }", r"\[workload\]"),
        ('[optimize]\nprecisions = ["fp32"]', r"\[optimize\]"),
        ("[calibration]\nsamples = 5", r"\[calibration\]"),
        ("[targets.cpu.quality]\nmin = 0.2", r"\[quality\]"),
    ],
)
def test_bundles_of_another_build_are_refused(world: World, jobs: Path, section: str, changed: str) -> None:
    run_jobs(jobs)
    with pytest.raises(UsageError, match=f"its job bundles are of another build: {changed} changed since$") as error:
        build(world, section, jobs=jobs)
    assert (error.value.hint or "").endswith("; [budget], [serve] and another goal may change")


def test_another_budget_judges_the_same_results(world: World, jobs: Path) -> None:
    run_jobs(jobs)
    before = snapshot(world.final)
    missed = build(world, "[budget]\nlatency_ms = 0.001", jobs=jobs)
    assert (missed.end, missed.manifest.verdict.met) == ("budget_missed", False)
    assert snapshot(world.final) == before
    loose = "[budget]\nlatency_ms = 1000"
    kept = build(world, loose, jobs=jobs)
    assert (kept.end, kept.manifest.verdict.met, kept.manifest.verdict.chosen) == ("published", True, "fast")
    assert kept.manifest.promises.latency_ms == 1000
    assert kept.manifest.verdict.reasons[0].endswith("of 1,000 ms (batch 1, 96 threads)")
    assert build(world, loose).end == "unchanged"
    assert sorted(path.name for path in world.final.parent.iterdir()) == ["cpu"]


def test_a_percentile_beyond_the_calls_that_were_made_is_a_doubt(world: World, jobs: Path) -> None:
    """Bundles make as many calls as p99.9 needs."""
    run_jobs(jobs)
    reasons = build(world, "[budget]\nlatency_ms = 1000\npercentile = 99.999", jobs=jobs).manifest.verdict.reasons
    assert reasons[0].startswith("budget met: p99.999 ")
    assert any(reason.startswith("p99.999 rests on ") for reason in reasons)


def test_another_goal_chooses_among_the_same_results(world: World, jobs: Path) -> None:
    run_jobs(jobs)
    chosen = build(world, '[optimize]\ngoal = "throughput"', jobs=jobs).manifest.verdict
    assert any("highest throughput" in reason for reason in chosen.reasons)


def test_where_nothing_ran_there_is_nothing_to_import(world: World, jobs: Path) -> None:
    with pytest.raises(PackError) as error:
        build(world, jobs=jobs)
    reason = "not run on the device: there is no result.json in the job bundle"
    assert str(error.value) == f"{jobs}: none of 2 job bundles was measured:\n  base, fast: {reason}"
    assert read_manifest(world.final).state == "built"


def test_a_package_is_no_folder_of_bundles(world: World, jobs: Path) -> None:
    run_jobs(jobs)
    copy = world.folder / "back"
    jobs.rename(copy)
    build(world, jobs=copy)
    with pytest.raises(UsageError, match="waits for no job bundles: it is a package") as error:
        build(world, jobs=copy)
    assert error.value.hint == "to measure again, move it away, and `pack build` makes new bundles"


def run_elsewhere(world: World, *names: str) -> Path:
    """A copy of these bundles alone that ran, as one comes back from a device."""
    back = world.folder / "-".join(("back", *names))
    for name in names:
        shutil.copytree(find_jobs(world.final) / "job" / name, back / name)
    run_jobs(back)
    return back


def test_results_may_come_in_parts(world: World, jobs: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Of one runtime today and of another tomorrow: what is best of all is packaged then."""
    fast, base = run_elsewhere(world, "fast"), run_elsewhere(world, "base")
    assert build(world, jobs=fast).manifest.verdict.chosen == "fast"
    assert build(world).end == "unchanged"
    assert (world.jobs / "job" / "base" / "run.py").is_file(), "it can still be run"
    caplog.set_level("INFO")
    result = build(world, jobs=base)
    assert f"from {base}: base" in caplog.messages
    assert f"from {world.jobs / 'job'}: fast" in caplog.messages, "an earlier import brought it"
    assert (result.end, result.manifest.verdict.chosen) == ("published", "fast")
    assert find_failures(result) == {"base": None, "fast": None, "wrong": None}
    assert sorted(path.name for path in world.final.parent.iterdir()) == ["cpu"]


@pytest.mark.parametrize(
    ("section", "origin"),
    [
        ("[targets.cpu.quality]\nmin = 0.2", r"they are of another one: \[quality\] changed since"),
        ('[optimize]\nprecisions = ["fp32"]', r"they are of another one: \[optimize\] changed since"),
    ],
)
def test_a_folder_of_another_build_is_not_passed_over(world: World, jobs: Path, section: str, origin: str) -> None:
    """Whatever results there are where the build left its bundles: somebody meant those in the folder."""
    shutil.copytree(world.final, world.folder / "first")
    shutil.rmtree(world.final)
    build(world, section)
    run_jobs(jobs)
    with pytest.raises(UsageError, match=f"first/job holds no job bundles of this build of cpu: {origin}"):
        build(world, section, jobs=world.folder / "first" / "job")
    (world.folder / "first" / "manifest.json").unlink()
    with pytest.raises(UsageError, match=r"first/job holds no .*: they are of another target or model, or the spec"):
        build(world, section, jobs=world.folder / "first" / "job")


def test_a_folder_of_another_target_is_not_passed_over(world: World, jobs: Path) -> None:
    other = world.folder / "build" / "tiny" / "orin"
    shutil.copytree(world.final, other)
    manifest = json.loads((other / "manifest.json").read_text())
    (other / "manifest.json").write_text(json.dumps(manifest | {"target": "orin"}))
    for file in other.glob("job/*/job.json"):
        file.write_text(json.dumps(json.loads(file.read_text()) | {"build": "of orin"}))
    run_jobs(jobs)
    with pytest.raises(UsageError, match=r"orin/job holds no .* build of cpu: they are of tiny for orin") as error:
        build(world, jobs=other / "job")
    assert error.value.hint == "give the job/ that came back from the device of cpu"


def test_a_folder_that_brings_nothing_is_not_passed_over(world: World, jobs: Path) -> None:
    shutil.copytree(jobs, world.folder / "back")
    run_jobs(jobs)
    with pytest.raises(PackError, match=r"back: none of its job bundles has run: there is no result\.json"):
        build(world, jobs=world.folder / "back")


def test_a_bundle_of_another_build_hides_no_result_of_this_one(world: World, jobs: Path) -> None:
    fast, mixed = run_elsewhere(world, "fast"), run_elsewhere(world, "base", "fast")
    job = mixed / "fast" / "job.json"
    job.write_text(json.dumps(json.loads(job.read_text()) | {"build": "an older one"}))
    build(world, jobs=fast)
    candidates = build(world, jobs=mixed).manifest.candidates
    assert {record.id for record in candidates if record.measurements and record.measurements.p50_ms} == {
        "base",
        "fast",
    }


def test_parts_may_come_under_different_budgets(world: World, jobs: Path) -> None:
    fast, base = run_elsewhere(world, "fast"), run_elsewhere(world, "base")
    assert build(world, "[budget]\nlatency_ms = 1000", jobs=fast).folder == world.final
    assert (world.jobs / "job" / "base" / "run.py").is_file(), "it can still be run"
    other = "[budget]\nlatency_ms = 900"
    with pytest.raises(UsageError, match="results of a device are here"):
        build(world, other)
    candidates = build(world, other, jobs=base).manifest.candidates
    assert {record.id for record in candidates if record.measurements and record.measurements.p50_ms} == {
        "base",
        "fast",
    }
    assert sorted(path.name for path in world.final.parent.iterdir()) == ["cpu"]


def test_a_part_that_is_no_better_leaves_the_package(world: World, jobs: Path) -> None:
    fast, base = run_elsewhere(world, "fast"), run_elsewhere(world, "base")
    build(world, jobs=fast)
    edit_result(base / "base", status="failed", failure="no GPU")
    before = read_manifest(world.final)
    again = build(world, jobs=base)
    assert (again.end, again.manifest.verdict.chosen) == ("published", "fast"), "of what came before"
    assert find_failures(again)["base"] == "on the device: no GPU"
    assert before.build_key == again.manifest.build_key
    assert (world.jobs / "job" / "base").is_dir(), "it may still go well"
    assert build(world, "[budget]\nlatency_ms = 3").folder == world.jobs, "its results are in the package"


def test_a_target_that_is_here_is_measured_by_a_build(world: World, jobs: Path) -> None:
    with pytest.raises(UsageError, match="is this machine, so nothing is to be imported"):
        world.build(options=BuildOptions(jobs=jobs))


def test_another_device_than_the_targets_is_refused(world: World, jobs: Path) -> None:
    run_jobs(jobs)
    h200 = dataclasses.replace(GENOA, name="NVIDIA H200 SXM", driver_names=("NVIDIA H200",))
    with pytest.raises(PackError, match="which is not NVIDIA H200 SXM"):
        take(world, jobs, h200)
    edit_result(jobs / "base", device="another")
    with pytest.raises(PackError, match=r"the bundles ran on different devices: .*another \(base\)"):
        take(world, jobs)


@pytest.mark.parametrize("device", ["NVIDIA H200", "NVIDIA H200 MIG 3g.71gb", "Cortex-A78AE (6 CPUs)"])
def test_a_jetson_is_neither_a_cpu_nor_a_card(device: str) -> None:
    jetson = find_target("jetson-orin-nano-8gb", Path())
    with pytest.raises(PackError, match=r"it ran on .*, which is not Jetson Orin Nano"):
        check_device(device, jetson)
    check_device("Orin", jetson)


def test_a_gpu_without_known_names_is_no_cpu() -> None:
    mine = dataclasses.replace(find_target("nvidia-l4", Path()), driver_names=())
    check_device("NVIDIA L4", mine)
    with pytest.raises(PackError, match="which is not NVIDIA L4"):
        check_device("AMD EPYC 9654 (1 CPU)", mine)


def test_an_engine_has_to_come_back(world: World, jobs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_jobs(jobs)
    monkeypatch.setattr(StubRuntime, "model_filename", "model.plan")
    with pytest.raises(PackError, match=r"the engine did not come back with the bundle: .*model\.plan is"):
        take(world, jobs)


def test_the_engine_that_the_device_made_is_what_is_packaged(world: World, jobs: Path) -> None:
    run_jobs(jobs)
    device = json.loads((jobs / "fast" / "result.json").read_text())["device"]
    source = world.ingest().source
    facts = make_stamp(source.inputs, source.outputs, device=device, build_s=0.0)
    plan = write_engine(jobs / "fast" / "model", facts)
    taken = take(world, jobs)
    assert taken["fast"].model == plan
    measured = taken["fast"].measurement
    assert measured is not None
    files = (plan, plan.with_suffix(".json"))
    assert measured.size_mib == sum(file.stat().st_size for file in files) / 2**20, "without the graph"
    assert measured.load_s is None, "the run built it first"
    assert measured.peak_rss_mib is not None
    base = taken["base"].measurement
    assert base is not None
    assert None not in (base.load_s, base.peak_rss_mib)
    assert taken["base"].model != plan
    write_engine(plan.parent, make_stamp(source.inputs, source.outputs))
    refused = take(world, jobs)
    assert "is an engine of TensorRT 8.6.0 for NVIDIA H200" in (refused["fast"].failure or "")
    assert refused["fast"].measurement is None
    write_engine(plan.parent, make_stamp(source.inputs, source.outputs, device=device))
    older = dataclasses.replace(GENOA, compute_capability="8.0")
    refused = take(world, jobs, older)
    assert (refused["fast"].failure or "").endswith("has 8.0")
