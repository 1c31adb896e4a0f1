"""`pack import`: from the results of job bundles to a package."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from driver_world import HOST, Way, World, install_world
from packc.cli.main import run
from packc.ingest.fingerprint import hash_file
from packc.samples import load_samples, save_samples

GENOA = '\n[targets.big]\nprofile = "cpu-amd-genoa"\n'


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.chdir(tmp_path)
    return install_world(monkeypatch, tmp_path)


def run_bundle(bundle: Path) -> None:
    subprocess.run([sys.executable, "run.py", "--rounds", "1"], cwd=bundle, check=True, capture_output=True)


def test_bundles_come_back_as_a_package(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    spec = str(world.write_spec(targets=GENOA))
    assert run(["build", spec]) == 5
    built = capsys.readouterr().out
    assert "run the job bundle in job/ there as README.md beside it says, then `pack import`" in " ".join(built.split())
    folder = Path("build/tiny/big")
    assert f"pack import {spec} --target big" in (folder / "README.md").read_text()
    assert run(["push", str(folder), "models"]) == run(["verify", str(folder)]) == 2
    assert capsys.readouterr().err.count("hint: run its job bundles on the device") == 2
    run_bundle(folder / "job" / "base")
    assert run(["import", spec, "--from", str(folder)]) == 0
    assert capsys.readouterr().out.endswith("\npackage: build/tiny/big\n")
    assert json.loads((folder / "manifest.json").read_text())["state"] == "measured"


def test_new_bundles_leave_the_package_in_its_place(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    """`pack import` finds them by itself, and says where they still are when nobody keeps the budget."""
    first = world.write_spec(targets=GENOA)
    assert run(["build", str(first), "--out", "out"]) == 5
    package = Path("out/tiny/big")
    assert f"pack import {first} --out out --target big" in (package / "README.md").read_text()
    run_bundle(package / "job" / "base")
    assert run(["import", str(first), "--out", "out"]) == 0
    second = str(world.write_spec("[budget]\nlatency_ms = 0.001", targets=GENOA))
    capsys.readouterr()
    assert run(["build", second, "--out", "out"]) == 5
    told = "job bundles: out/tiny/big.jobs\nthe package of an earlier build stays: out/tiny/big\n"
    assert capsys.readouterr().out.endswith(told)
    run_bundle(package.with_name("big.jobs") / "job" / "base")
    assert run(["import", second, "--out", "out"]) == 3
    out, err = capsys.readouterr()
    assert out.endswith(
        "nothing was published; report: out/tiny/big.missed\n"
        "the package of an earlier build stays: out/tiny/big\nthe job bundles stay: out/tiny/big.jobs\n"
    )
    assert err.endswith(
        "hint: change [budget] in the spec and import again, or publish the nearest with --allow-miss\n"
    )
    assert run(["import", second, "--out", "out", "--allow-miss"]) == 0
    assert [path.name for path in package.parent.iterdir() if path.is_dir()] == ["big"]


def test_a_budget_that_was_missed_is_loosened(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    tight = str(world.write_spec("[budget]\nlatency_ms = 0.001", targets=GENOA))
    run(["build", tight])
    run_bundle(Path("build/tiny/big/job/base"))
    assert run(["import", tight]) == 3
    assert "budget missed" in capsys.readouterr().out
    assert run(["import", str(world.write_spec("[budget]\nlatency_ms = 1000", targets=GENOA))]) == 0
    assert "budget met" in capsys.readouterr().out


def test_another_quality_bound_takes_new_bundles(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    spec = str(world.write_spec(targets=GENOA))
    run(["build", spec])
    bundle = Path("build/tiny/big/job/base")
    run_bundle(bundle)
    answers, result = bundle / "answers.npz", json.loads((bundle / "result.json").read_text())
    save_samples(answers, [{"scores": answer["scores"] + 0.5} for answer in load_samples(answers)])
    (bundle / "result.json").write_text(json.dumps(result | {"answers_sha256": hash_file(answers)}))
    capsys.readouterr()
    assert run(["import", spec]) == 4
    assert capsys.readouterr().err.endswith("; for another bound or workload, build new bundles and run those\n")


def test_bundles_that_never_ran_are_a_failure(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    spec = str(world.write_spec(targets=GENOA))
    run(["build", spec])
    capsys.readouterr()
    assert run(["import", spec]) == 1
    why = "not run on the device: there is no result.json in the job bundle"
    told = f"none of 1 job bundles was measured:\n  base: {why}\n\nhint: run them on the device"
    assert told in capsys.readouterr().err


def test_bundles_without_figures_stay_beside_the_package(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    """A run in the wrong Python is mended after the first import."""
    world.ways["other"] = Way()
    spec = str(world.write_spec(targets=GENOA))
    run(["build", spec])
    package, beside = Path("build/tiny/big"), Path("build/tiny/big.jobs")
    run_bundle(package / "job" / "base")
    subprocess.run([sys.executable, "-S", "run.py"], cwd=package / "job" / "other", check=False, capture_output=True)
    capsys.readouterr()
    assert run(["import", spec]) == 0
    out, err = capsys.readouterr()
    assert "other: on the device: this Python has no numpy: run it with the one that has\n" in err
    assert "the job bundles stay, as it has no figures of some\n" in err
    assert out.endswith(f"package: {package}\nthe job bundles stay: {beside}\n")
    assert run(["build", spec]) == 0
    assert capsys.readouterr().out.endswith(f"package (nothing changed): {package}\nthe job bundles stay: {beside}\n")
    run_bundle(beside / "job" / "other")
    assert run(["import", spec]) == 0
    assert capsys.readouterr().out.endswith(f"package: {package}\n")
    assert not beside.exists()


def test_which_target_has_to_be_clear(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    spec = str(world.write_spec(targets=HOST + GENOA))
    assert run(["import", spec]) == 2
    assert "the spec has several targets\n\nhint: name one with --target: cpu, big" in capsys.readouterr().err
    assert run(["import", spec, "--target", "bog"]) == 2
    assert "the spec has no target 'bog'" in capsys.readouterr().err
    assert run(["import", spec, "--target", "big"]) == 2
    assert "there are no job bundles in " in capsys.readouterr().err


def test_this_machine_has_nothing_to_import(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["import", str(world.write_spec())]) == 2
    err = capsys.readouterr().err
    assert "is this machine, so nothing is to be imported\n\nhint: `pack build` measures it" in err
