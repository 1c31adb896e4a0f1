"""OpenVINO from a spec to answers: every recipe on the real model, served by the openvino backend."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from pack_command import run_pack
from packc.server.environment import Server

pytest.importorskip("openvino")
pytest.importorskip("nncf")

pytestmark = pytest.mark.e2e

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "minilm"

SPEC = """
[model]
name = "minilm"
source = "{model}"

[workload]
sequence = {{ typical = 24, max = 64 }}
concurrency = 1

[quality]
min = 0.85
data = "eval.jsonl"

[calibration]
data = "calib.jsonl"
samples = 64

[optimize]
runtimes = ["openvino"]

[targets.cpu]
profile = "host"
"""


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory, minilm_dir: Path, triton_server: Server) -> dict[str, Any]:
    """Of the published package."""
    folder = tmp_path_factory.mktemp("openvino")
    for name in ("eval", "calib"):
        shutil.copy(EXAMPLE / f"{name}.jsonl", folder)
    (folder / "spec.toml").write_text(SPEC.format(model=minilm_dir))
    done = run_pack("build", "spec.toml", "--json", cwd=folder)
    assert done.code == 0, done.stderr
    return {"folder": folder, **json.loads((folder / "build/minilm/cpu/manifest.json").read_text())}


def test_every_recipe_answers(manifest: dict[str, Any]) -> None:
    quality = {c["id"]: c["measurements"]["quality"]["value"] for c in manifest["candidates"] if not c["failure"]}
    assert {"openvino-fp32", "openvino-int8-weights", "openvino-int8"} <= set(quality)
    assert quality["openvino-fp32"] > 0.999
    reasons = {item["what"]: item["reason"] for item in manifest["rejected"]}
    if "openvino-int8-ffn" in reasons:
        assert quality["openvino-int8"] > 0.85, "what keeps the bound needs no precaution"
    else:
        assert quality["openvino-int8-ffn"] > 0.9
    assert quality["openvino-int8-weights"] > 0.95


def test_the_server_answers_as_the_artifact_does(manifest: dict[str, Any]) -> None:
    assert manifest["state"] == "verified"
    assert manifest["verdict"]["chosen"].startswith("openvino-")
    assert manifest["served"]["quality"]["value"] > 0.85
