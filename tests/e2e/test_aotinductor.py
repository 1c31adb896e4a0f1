"""AOTInductor from a spec to answers: a tiny encoder, served by its engine in Triton's Python processes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from models import WORDS
from pack_command import run_pack
from packc.runtimes.aotinductor import find_compiler, find_torch
from packc.server.environment import Server

pytest.importorskip("torch")

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(find_compiler() is None, reason="needs a C++ compiler"),
]

SPEC = """
[model]
name = "tiny"
source = "{model}"

[workload]
sequence = {{ typical = 8, max = 16 }}
batch = {{ typical = 1, max = 4 }}
concurrency = 1

[quality]
metric = "cosine"
min = 0.999
data = "eval.jsonl"

[optimize]
runtimes = ["torch"]
precisions = ["fp32"]

[targets.cpu]
profile = "host"
"""


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory, tiny_bert_dir: Path, triton_server: Server) -> Path:
    """The published package."""
    folder = tmp_path_factory.mktemp("torch")
    texts = [" ".join(WORDS[i % 30 : i % 30 + 2 + i % 7]) for i in range(40)]
    (folder / "eval.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    (folder / "spec.toml").write_text(SPEC.format(model=tiny_bert_dir))
    done = run_pack("build", "spec.toml", "--json", cwd=folder)
    assert done.code == 0, done.stderr
    return folder / "build" / "tiny" / "cpu"


def test_a_real_server_answers_as_the_source_does(package: Path) -> None:
    manifest: dict[str, Any] = json.loads((package / "manifest.json").read_text())
    assert (manifest["state"], manifest["verdict"]["chosen"]) == ("verified", "torch-fp32")
    assert manifest["served"]["quality"]["value"] > 0.9999
    assert manifest["served"]["golden_max_error"] < 1e-4
    (candidate,) = manifest["candidates"]
    assert any("alone, on CPUs with" in remark for remark in candidate["warnings"])


def test_every_front_that_was_tried_could_be_served(package: Path) -> None:
    """As an ensemble around the Python model of the graph, and in one process with the tokenizer."""
    tried = json.loads((package / "manifest.json").read_text())["serving"]["tried"]
    assert tried
    assert [way["failure"] for way in tried] == [None] * len(tried)


def test_the_package_says_what_it_needs(package: Path) -> None:
    needed = f"torch=={find_torch()}"
    assert f"${{TORCH_FLAGS}} {needed}" in (package / "Dockerfile").read_text()
    assert f"compiled by AOTInductor for {needed}" in (package / "README.md").read_text()
    configs = [path.read_text() for path in package.rglob("config.pbtxt")]
    assert sum(needed in text for text in configs) == 1
    assert "pkg:pypi/torch@" in (package / "sbom.cdx.json").read_text()
