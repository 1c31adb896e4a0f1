"""`pack build`: what it says, where, and how it ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from driver_world import HOST, SPEC, Way, World, install_world
from gpu_packages import FP16, write_built, write_measured
from models import make_tiny_onnx
from packc.cli.main import run
from packc.driver import combine, target
from packc.driver import spec as build_spec_module
from packc.driver.endings import TargetResult
from packc.driver.target import build_target
from packc.errors import MissingError, PackError, UsageError
from packc.package.manifest_file import check_files, read_manifest
from packc.runtimes.onnxruntime_cuda import OnnxRuntimeCuda
from packc.server import environment

PACK = "from packc.cli.main import main; main()"
KEYS = ["name", "state", "reason", "met", "repository", "manifest", "report"]
TIGHT = "[budget]\nlatency_ms = 0.0001"
EDGE = '\n[targets.edge]\nprofile = "aws-inf2"\n'


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the candidate does is found out once for all tests."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def world(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.chdir(tmp_path)
    return install_world(monkeypatch, tmp_path, cache)


def build(world: World, *arguments: str, sections: tuple[str, ...] = (), targets: str = HOST) -> int:
    return run(["build", str(world.write_spec(*sections, targets=targets)), *arguments])


def read_document(capsys: pytest.CaptureFixture[str]) -> tuple[dict[str, Any], str]:
    """stdout as the one JSON document that it must be, and stderr."""
    out, err = capsys.readouterr()
    return json.loads(out), err


def test_a_package_and_its_report(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    assert build(world) == 0
    out, err = capsys.readouterr()
    assert out.endswith("\npackage: build/tiny/cpu\n")
    assert "base" in out
    assert "published " in err
    assert build(world) == 0
    assert capsys.readouterr().out.endswith("\npackage (nothing changed): build/tiny/cpu\n")


def test_a_failure_shows_its_traceback_only_when_asked(
    world: World, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise PackError("exporting vit:gelu failed: TypeError: The shape is frozen")

    monkeypatch.setattr(target, "ingest_model", fail)
    assert build(world) == 1
    err = capsys.readouterr().err
    assert "error: exporting vit:gelu failed: TypeError" in err
    assert "Traceback" not in err
    assert build(world, "-v") == 1
    assert "Traceback" in capsys.readouterr().err


def test_the_json_document_is_the_contract(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    assert build(world, "--json", "--out", "here") == 0
    document, err = read_document(capsys)
    assert list(document) == ["schema", "model", "targets"]
    assert (document["schema"], document["model"]) == (1, "tiny")
    (cpu,) = document["targets"]
    folder = world.folder / "here" / "tiny" / "cpu"
    assert list(cpu) == KEYS
    assert cpu == {
        "name": "cpu",
        "state": "verified",
        "reason": None,
        "met": True,
        "repository": str(folder / "model_repository"),
        "manifest": str(folder / "manifest.json"),
        "report": str(folder / "report.html"),
    }
    assert all(Path(cpu[key]).exists() for key in KEYS[4:])
    assert f"published {folder}" in err


@pytest.mark.parametrize(
    ("way", "sections", "code", "state"),
    [
        (Way(), (TIGHT,), 3, "measured"),
        (Way(error=0.5), (), 4, "measured"),
        (Way(fault="raise"), (), 1, "measured"),
    ],
    ids=["budget", "quality", "failed"],
)
def test_a_missed_promise(
    world: World,
    capsys: pytest.CaptureFixture[str],
    way: Way,
    sections: tuple[str, ...],
    code: int,
    state: str,
) -> None:
    world.ways["base"] = way
    assert build(world, "--json", sections=sections) == code
    (cpu,) = read_document(capsys)[0]["targets"]
    assert list(cpu) == KEYS
    assert (cpu["state"], cpu["met"], cpu["repository"]) == (state, False, None)
    assert Path(cpu["report"]).parent == world.missed
    assert build(world, sections=sections) == code
    assert capsys.readouterr().out.endswith("\nnothing was published; report: build/tiny/cpu.missed\n")


@pytest.mark.parametrize("spread", [0.0, 0.5])
def test_after_a_miss_the_hint_begins_with_the_noise(
    world: World, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, spread: float
) -> None:
    monkeypatch.setattr("packc.measure.rounds.spread_of_rounds", lambda _: spread)
    world.ways["base"] = Way(ms=2.0 + spread)  # the cache knows quiet figures of others
    assert build(world, sections=(TIGHT,)) == 3
    hint = capsys.readouterr().err.split("\nhint: ")[1]
    assert hint.startswith("timing was noisy, so build again on a quiet machine" if spread else "change the bound")
    assert hint.endswith("or publish the nearest with --allow-miss\n")


def test_minutes_that_were_over_are_told_at_the_end(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    world.ways |= {"a": Way(), "b": Way()}
    assert build(world, sections=("[optimize]\nmax_minutes = 0.0001",)) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "the search was cut short, as the 0.0001 minutes of [optimize] max_minutes were over: 2 candidates" in out
    assert "a, b: not tried: " in out


def test_allow_miss(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    assert build(world, "--allow-miss", "--json", sections=(TIGHT,)) == 0
    (cpu,) = read_document(capsys)[0]["targets"]
    assert (cpu["met"], Path(cpu["repository"]).is_dir()) == (False, True)
    assert json.loads(Path(cpu["manifest"]).read_text())["verdict"]["met"] is False


@pytest.mark.parametrize(
    ("profile", "state", "what"),
    [("cpu-amd-genoa", "built", "job bundles"), ("aws-inf2", "planned", "plan")],
)
def test_a_device_elsewhere(
    world: World, capsys: pytest.CaptureFixture[str], profile: str, state: str, what: str
) -> None:
    targets = f'[targets.there]\nprofile = "{profile}"\n'
    assert build(world, "--json", targets=targets) == 5
    (there,) = read_document(capsys)[0]["targets"]
    assert list(there) == KEYS
    assert (there["state"], there["met"], there["repository"]) == (state, None, None)
    assert build(world, targets=targets) == 5
    assert capsys.readouterr().out.endswith(f"\n{what}: build/tiny/there\n")


def test_two_targets_of_which_one_fails(
    world: World, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail_edge(inputs: Any, *rest: Any) -> Any:
        if inputs.spec.target == "edge":
            raise PackError("the export crashed", hint="free memory")
        return build_target(inputs, *rest)

    monkeypatch.setattr(build_spec_module, "build_target", fail_edge)
    assert build(world, "--json", targets=HOST + EDGE) == 1
    document, err = read_document(capsys)
    cpu, edge = document["targets"]
    assert list(cpu) == list(edge) == KEYS
    assert (cpu["state"], cpu["met"]) == ("verified", True)
    assert edge == {"name": "edge", "state": "failed", "reason": "the export crashed"} | dict.fromkeys(KEYS[3:])
    assert "target edge could not be built:\nerror: the export crashed\n\nhint: free memory" in err
    assert build(world, targets=HOST + EDGE) == 1
    out, err = capsys.readouterr()
    assert "package (nothing changed): build/tiny/cpu" in out
    assert "the export crashed" in err


@pytest.mark.parametrize(
    ("ends", "code"),
    [
        (("published", "planned"), 5),
        (("planned", "budget_missed"), 3),
        (("quality_missed", "budget_missed", "built"), 4),
        (("quality_missed", UsageError("no such file")), 2),
        ((UsageError("no such file"), "failed"), 1),
        (("published", MissingError("no server")), 5),
        (("published", "unchanged"), 0),
    ],
    ids=str,
)
def test_the_gravest_end_decides(
    world: World, monkeypatch: pytest.MonkeyPatch, ends: tuple[str | PackError, ...], code: int
) -> None:
    assert build(world, "--no-verify") == 0
    manifest = read_manifest(world.final)
    results = [
        build_spec_module.TargetFailure("t", end)
        if isinstance(end, PackError)
        else build_spec_module.TargetResult("t", end, world.final, manifest)  # type: ignore[arg-type]
        for end in ends
    ]
    monkeypatch.setattr("packc.cli.build.build_spec", lambda *_: results)
    assert build(world) == code


def test_a_combined_package_is_told_after_its_targets(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def build_gpu(inputs: Any, final: Path, *_: Any) -> TargetResult:
        if inputs.spec.target == "h200":
            write_measured(final.parent, "h200", 2.0)
        else:
            write_built(final.parent, "l4", {FP16: 3.0})
        return TargetResult(inputs.spec.target, "published", final, read_manifest(final))

    monkeypatch.setattr(build_spec_module, "build_target", build_gpu)
    monkeypatch.setattr(combine, "find_runtime", lambda name: OnnxRuntimeCuda())
    targets = '\n[targets.h200]\nprofile = "nvidia-h200-sxm"\n[targets.l4]\nprofile = "nvidia-l4"\n'
    assert build(world, sections=('[combine]\nfleet = ["h200", "l4"]',), targets=targets) == 0
    out = capsys.readouterr().out.split("\ntiny for several GPUs, fleet: measured\n")[1]
    own = "its own package: verified, p99 4.00 ms, 500 samples/s; this repository: "
    assert out.startswith(f"  h200: 9.0, {FP16} as model.onnx by default; {own}")
    assert "  l4: 8.9, " in out
    assert out.endswith("\npackage: build/tiny/fleet\n")
    assert run(["inspect", "build/tiny/fleet"]) == 0
    l4 = f"  l4: 8.9, {FP16} as model.l4.onnx by its compute capability; its own package: built; "
    assert l4 in capsys.readouterr().out
    assert run(["lint", "build/tiny/fleet"]) == 0


def test_a_combined_package_of_nothing_measured_waits(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def build_gpu(inputs: Any, final: Path, *_: Any) -> TargetResult:
        final.parent.mkdir(parents=True, exist_ok=True)
        write_built(final.parent, inputs.spec.target, {FP16: 3.0})
        return TargetResult(inputs.spec.target, "built", final, read_manifest(final))

    monkeypatch.setattr(build_spec_module, "build_target", build_gpu)
    targets = '\n[targets.h200]\nprofile = "nvidia-h200-sxm"\n[targets.l4]\nprofile = "nvidia-l4"\n'
    assert build(world, "--json", sections=('[combine]\nfleet = ["h200", "l4"]',), targets=targets) == 5
    document, err = read_document(capsys)
    reason = "none of h200, l4 was measured yet"
    assert f"fleet waits: {reason}\n\nhint: run the job bundles of one of them on its GPU" in err
    assert "error" not in err
    fleet = document["targets"][-1]
    assert (list(fleet), fleet["name"], fleet["state"], fleet["reason"]) == (KEYS, "fleet", "waiting", reason)


def test_only_the_target_that_was_asked_for(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    assert build(world, "--json", "-t", "edge", targets=HOST + EDGE) == 5
    assert [item["name"] for item in read_document(capsys)[0]["targets"]] == ["edge"]
    assert build(world, "-t", "egde", targets=HOST + EDGE) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err == "error: the spec has no target 'egde'\n\nhint: it has cpu, edge\n"


def test_a_wrong_spec_is_2_and_stdout_stays_empty(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    assert build(world, "--json", sections=("[budget]\nlatncy_ms = 5",)) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "spec.toml:" in err
    assert "latency_ms" in err


def test_an_output_that_is_a_file_is_2(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    (world.folder / "taken").touch()
    assert build(world, "--out", "taken") == 2
    assert "is not a folder" in capsys.readouterr().err


def test_without_a_server_it_ends_with_5_and_a_hint(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(target, "require_server", environment.require_server)
    monkeypatch.setattr(environment, "find_server", lambda cache: None)
    assert build(world, "--json") == 5
    document, err = read_document(capsys)
    (cpu,) = document["targets"]
    assert (list(cpu), cpu["state"]) == (KEYS, "failed")
    assert cpu["reason"].startswith("there is no Triton server here")
    assert "target cpu could not be built:\nerror: there is no Triton server here" in err
    assert "\n\nhint: `pack doctor --install server`" in err
    assert build(world, "--no-verify") == 0


def test_ctrl_c_is_130_and_leaves_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("packc.driver.best.verify_package", interrupt)
    assert build(world) == 130
    out, err = capsys.readouterr()
    assert out == ""
    assert err.endswith("interrupted\n")
    assert not (world.folder / "build").exists()


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a spec that the real runtime builds, one candidate, without a server."""
    folder = tmp_path_factory.mktemp("real")
    make_tiny_onnx(folder / "tiny.onnx")
    (folder / "spec.toml").write_text(SPEC + '[optimize]\nprecisions = ["fp32"]\n' + HOST)
    return folder


def start_pack(folder: Path, out: str) -> subprocess.Popen[str]:
    """The real `pack build`, in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-c", PACK, "build", "spec.toml", "--no-verify", "--json", "--out", out],
        cwd=folder,
        env={**os.environ, "PACK_CACHE_DIR": str(folder / "cache")},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def check_whole(package: Path) -> None:
    """The package is as its manifest says, and alone in its folder."""
    assert check_files(package, read_manifest(package)) == []
    assert sorted(path.name for path in package.parent.iterdir()) == ["cpu", "pack.lock"]


def test_a_killed_build_is_no_obstacle_to_the_next(real: Path) -> None:
    killed = start_pack(real, "killed")
    assert killed.stderr is not None
    for line in killed.stderr:
        if line.startswith("timing round"):
            break
    killed.send_signal(signal.SIGKILL)
    assert killed.wait(30) == -signal.SIGKILL
    killed.communicate()
    assert not list(real.glob("killed/**/*"))
    again = start_pack(real, "killed")
    _, err = again.communicate(timeout=120)
    assert again.returncode == 0, err
    assert ": answers checked before" in err
    check_whole(real / "killed" / "tiny" / "cpu")
    assert not [path for path in (real / "cache").glob("*/.*-*") if path.is_dir()]


def test_two_builds_at_once(real: Path) -> None:
    builds = [start_pack(real, "both") for _ in range(2)]
    for process in builds:
        out, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
        assert json.loads(out)["targets"][0]["state"] == "measured"
    check_whole(real / "both" / "tiny" / "cpu")


def test_a_build_killed_while_it_publishes(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last good package stays; the folder that was being made goes with the next build."""
    assert build(world) == 0
    before = (world.final / "manifest.json").read_bytes()
    world.write_spec("[budget]\nlatency_ms = 5000")
    child = os.fork()
    if child == 0:
        monkeypatch.setattr("packc.driver.endings.write_html", lambda *_: time.sleep(60))
        run(["build", "spec.toml"])
        os._exit(0)
    staging = wait_for(lambda: [p for p in world.final.parent.glob(".cpu.staging-*") if (p / "manifest.json").exists()])
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    assert staging[0].is_dir()
    assert (world.final / "manifest.json").read_bytes() == before
    assert build(world, sections=("[budget]\nlatency_ms = 5000",)) == 0
    check_whole(world.final)
    assert (world.final / "manifest.json").read_bytes() != before


def wait_for(look: Any) -> Any:
    """What `look` finds once it finds something."""
    deadline = time.monotonic() + 30
    while not (found := look()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)
    return found
