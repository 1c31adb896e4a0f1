"""AOTInductor on a GPU from a spec to answers: for whoever has one, and a torch with CUDA."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from models import WORDS
from pack_command import run_pack
from packc.runtimes.aotinductor_cuda import find_torch_build
from packc.runtimes.cuda_toolkit import find_cuda_home
from packc.server.environment import Server

pytestmark = [pytest.mark.e2e, pytest.mark.gpu]

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
runtimes = ["torch-cuda"]
precisions = ["tf32"]

[targets.gpu]
profile = "host-gpu"
"""


def test_a_real_server_answers_as_the_source_does(tmp_path: Path, tiny_bert_dir: Path, triton_server: Server) -> None:
    build = find_torch_build()
    if build is None or build.cuda is None or find_cuda_home() is None:
        pytest.skip("needs a torch with CUDA, and CUDA's headers")
    texts = [" ".join(WORDS[i % 30 : i % 30 + 2 + i % 7]) for i in range(40)]
    (tmp_path / "eval.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    (tmp_path / "spec.toml").write_text(SPEC.format(model=tiny_bert_dir))
    done = run_pack("build", "spec.toml", "--json", cwd=tmp_path)
    assert done.code == 0, done.stderr
    package = tmp_path / "build" / "tiny" / "gpu"
    manifest = json.loads((package / "manifest.json").read_text())
    assert (manifest["state"], manifest["verdict"]["chosen"]) == ("verified", "torch-cuda-tf32")
    assert manifest["served"]["quality"]["value"] > 0.999
    needed = f"torch=={build.version}+{build.label}"
    assert f"compiled by AOTInductor for {needed}" in (package / "README.md").read_text()
    assert f"--index-url https://download.pytorch.org/whl/{build.label}" in (package / "Dockerfile").read_text()
