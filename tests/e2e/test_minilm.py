"""The main job on a real model: all-MiniLM-L6-v2, from a spec to a repository that a real server answered through."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from pack_command import Finished, run_pack
from packc.cache import Cache
from packc.candidate import Candidate, PassStep
from packc.driver.evaluate import Trial, check_candidate
from packc.driver.inputs import gather_inputs
from packc.driver.target import make_trial
from packc.host import probe_host
from packc.ingest.ingest import ingest_model
from packc.ingest.inspect import inspect_source
from packc.quality.gate import judge_score
from packc.server.environment import Server
from packc.spec.model import QualitySection
from packc.spec.read import read_spec
from packc.spec.resolve import resolve_targets

pytestmark = pytest.mark.e2e

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "minilm"

SPEC = """
[model]
name = "minilm"
source = "model"

[workload]
batch = {{ typical = 1, max = 8 }}
sequence = {{ typical = 32, max = 128 }}
concurrency = 2
data = "traffic.jsonl"

[budget]
latency_ms = {latency_ms}

[quality]
metric = "neighbour_agreement"
min = {quality}
data = "eval.jsonl"

[calibration]
data = "calib.jsonl"
samples = 64

[targets.cpu]
profile = "host"
"""


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory, minilm_dir: Path) -> Path:
    """A folder with the model and its data, as the example has them."""
    folder = tmp_path_factory.mktemp("minilm")
    for name in ("eval", "calib", "traffic"):
        shutil.copy(EXAMPLE / f"{name}.jsonl", folder)
    (folder / "model").symlink_to(minilm_dir)
    return folder


def build(workspace: Path, *arguments: str, latency_ms: float = 200, quality: float = 0.9) -> Finished:
    """`pack build` of the spec with these bounds."""
    (workspace / "spec.toml").write_text(SPEC.format(latency_ms=latency_ms, quality=quality))
    return run_pack("build", "spec.toml", "--json", *arguments, cwd=workspace)


@pytest.fixture(scope="module")
def built(workspace: Path, triton_server: Server) -> Finished:
    """The first build, with bounds that can be kept."""
    return build(workspace)


@pytest.fixture(scope="module")
def manifest(built: Finished) -> dict[str, Any]:
    """Its manifest."""
    assert built.code == 0, built.stderr
    return json.loads(Path(built.document["targets"][0]["manifest"]).read_text())


def test_json_document_is_the_contract(built: Finished, workspace: Path) -> None:
    assert built.code == 0, built.stderr
    document = built.document
    assert (document["schema"], document["model"]) == (1, "minilm")
    (target,) = document["targets"]
    assert (target["name"], target["state"], target["met"]) == ("cpu", "verified", True)
    assert target["repository"] == str(workspace / "build" / "minilm" / "cpu" / "model_repository")
    assert Path(target["report"]).is_file()


def test_the_chosen_candidate_beats_the_model_as_exported_and_keeps_the_bound(manifest: dict[str, Any]) -> None:
    chosen = next(c for c in manifest["candidates"] if c["id"] == manifest["verdict"]["chosen"])
    assert chosen["measurements"]["quality"]["low"] >= 0.9
    baseline = next(c for c in manifest["candidates"] if c["id"] == "onnxruntime-fp32")
    assert chosen["measurements"]["p50_ms"] < baseline["measurements"]["p50_ms"]


def test_every_candidate_says_how_it_ended(manifest: dict[str, Any]) -> None:
    for candidate in manifest["candidates"]:
        assert candidate["status"] in ("kept", "outpaced", "budget_missed", "quality_missed"), candidate
        assert candidate["failure"] is None
        assert candidate["measurements"]["size_mib"] > 0
    assert all(rejection["reason"] for rejection in manifest["rejected"])


def test_served_figures_come_from_a_real_server(manifest: dict[str, Any]) -> None:
    served = manifest["served"]
    assert "2.51" in served["server"]
    assert served["samples"] >= 100
    assert 0 < served["p50_ms"] <= served["p99_ms"] <= 200
    assert served["quality"]["low"] >= 0.9
    assert served["golden_max_error"] < 0.02


def test_the_plan_was_chosen_among_those_that_were_served(manifest: dict[str, Any]) -> None:
    serving = manifest["serving"]
    first, *others = serving["tried"]
    assert first["is_fitted"]
    predicted, served = (first[kind]["throughput_per_s"] for kind in ("predicted", "served"))
    assert predicted <= 1.1 * served, "a fit only adds what a request costs beside the model"
    assert len(others) <= 3
    assert all(item["predicted"] and (item["served"] or item["failure"]) for item in serving["tried"])
    (chosen,) = [item for item in serving["tried"] if item["is_chosen"]]
    assert (chosen["instances"], chosen["threads"]) == (serving["instances"], serving["threads"])
    assert chosen["candidate"] == manifest["verdict"]["chosen"]


def test_a_second_build_finds_nothing_to_do(built: Finished, workspace: Path) -> None:
    assert built.code == 0
    again = build(workspace)
    assert again.code == 0
    assert "nothing changed" in again.stderr
    assert again.document == built.document


def test_an_impossible_budget_publishes_nothing(built: Finished, workspace: Path) -> None:
    before = (workspace / "build" / "minilm" / "cpu" / "manifest.json").read_bytes()
    missed = build(workspace, latency_ms=0.01)
    assert missed.code == 3
    (target,) = missed.document["targets"]
    assert (target["met"], target["repository"]) == (False, None)
    verdict = json.loads(Path(target["manifest"]).read_text())["verdict"]
    assert verdict["chosen"] is None
    assert 1 <= len(verdict["nearest"]) <= 3
    assert (workspace / "build" / "minilm" / "cpu" / "manifest.json").read_bytes() == before


def test_an_impossible_quality_publishes_nothing(built: Finished, workspace: Path) -> None:
    (workspace / "spec.toml").write_text(
        SPEC.format(latency_ms=200, quality=1.0).replace("[targets", '[optimize]\nprecisions = ["int8"]\n[targets')
    )
    missed = run_pack("build", "spec.toml", "--json", cwd=workspace)
    assert missed.code == 4, missed.stderr
    assert missed.document["targets"][0]["met"] is False


def test_allow_miss_publishes_with_the_miss_in_the_manifest(built: Finished, workspace: Path) -> None:
    published = build(workspace, "--allow-miss", "--out", "missed", latency_ms=0.01)
    assert published.code == 0, published.stderr
    (target,) = published.document["targets"]
    assert target["met"] is False
    assert Path(target["repository"]).is_dir()
    verdict = json.loads(Path(target["manifest"]).read_text())["verdict"]
    assert verdict["met"] is False
    assert verdict["nearest"]


def test_the_strongest_peers_default_is_refused(workspace: Path, built: Finished) -> None:
    """Dynamic int8 with one scale a tensor loses about a fifth of the nearest neighbours."""
    assert built.code == 0
    candidate = Candidate("peer", "onnxruntime", "int8", (PassStep("quantize_dynamic", {"per_channel": False}),))
    checked = check_candidate(candidate, recall_trial(workspace))
    assert checked.quality is not None
    assert not judge_score(checked.quality, QualitySection(min=0.9)).kept
    assert checked.quality.value < 0.85


def recall_trial(workspace: Path) -> Trial:
    """What the build tried its candidates on, from the cache."""
    spec = read_spec(workspace / "spec.toml")
    (target,) = resolve_targets(spec)
    cache = Cache()
    inputs = gather_inputs(target, probe_host(), inspect_source(spec.model), verify=True)
    ingested = ingest_model(inputs.info, inputs.evaluation, inputs.calibration, cache)
    return make_trial(inputs, ingested, cache)
