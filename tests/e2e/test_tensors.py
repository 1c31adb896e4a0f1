"""A foreign .onnx file without data: tensors in, tensors out, and a verdict that says what it rests on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pack_command import run_pack
from packc.server.environment import Server

pytestmark = pytest.mark.e2e

SPEC = """
[model]
name = "scores"
source = "{model}"

[budget]
latency_ms = 500

[optimize]
precisions = ["fp32"]

[targets.cpu]
profile = "host"
[targets.edge]
profile = "aws-inf2"
"""


def test_an_onnx_file_is_served_and_inferentia_is_only_planned(
    tmp_path: Path, tiny_onnx_path: Path, triton_server: Server
) -> None:
    (tmp_path / "spec.toml").write_text(SPEC.format(model=tiny_onnx_path))
    done = run_pack("build", "spec.toml", "--json", cwd=tmp_path)
    assert done.code == 5, done.stderr
    cpu, edge = done.document["targets"]
    assert (cpu["state"], cpu["met"]) == ("verified", True)
    assert (edge["state"], edge["met"], edge["repository"]) == ("planned", None, None)
    manifest = json.loads(Path(cpu["manifest"]).read_text())
    assert manifest["served"]["golden_max_error"] < 1e-4
    assert any("generated" in reason for reason in manifest["verdict"]["reasons"])
    planned = json.loads(Path(edge["manifest"]).read_text())
    assert planned["candidates"] == []
    assert "no runtime that compiles for neuron devices" in edge["reason"]
