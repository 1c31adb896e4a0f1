"""An AOTInductor package of a small module, compiled once a session, which takes seconds; TensorRT's adapter."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from packc.candidate import PassStep
from packc.ingest.inspect import inspect_source
from packc.runtimes.aotinductor import find_compiler
from packc.runtimes.compile import CompileRequest
from packc.spec.model import ModelSection
from tensorrt_bench import Bench
from tensorrt_stub import VERSIONS

SCORER = """
import torch

class Scorer(torch.nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.layer = torch.nn.Linear(8, 4)

    def forward(self, features, shift):
        scores = torch.relu(self.layer(features))
        return {"scores": scores, "best": scores.argmax(1) + shift}

def make():
    return Scorer(), {"features": torch.randn(1, 8), "shift": torch.zeros(1, dtype=torch.int64)}
"""


@pytest.fixture(scope="session")
def scorer_request(tmp_path_factory: pytest.TempPathFactory) -> CompileRequest:
    """A request to compile the scorer in bf16, which every CPU can compute, for this machine."""
    pytest.importorskip("torch")
    if find_compiler() is None:
        pytest.skip("needs a C++ compiler")
    folder = tmp_path_factory.mktemp("scorer")
    (folder / "pack_test_scorer.py").write_text(SCORER)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        info = inspect_source(ModelSection(name="scorer", source="pack_test_scorer:make"))
    step = PassStep("torch", {"precision": "bf16"})
    out = folder / "out"
    out.mkdir()
    return CompileRequest("", Path(), step, None, Path(), out, info, search_path=(str(folder),))


@pytest.fixture(scope="session")
def scorer_package(scorer_request: CompileRequest) -> Path:
    """model.pt2 of the scorer."""
    from packc.runtimes.aotinductor_compile import compile_model

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", list(sys.path))
        for name in ("TORCHINDUCTOR_CACHE_DIR", "CXX"):  # the compiler sets them for its own process
            patch.setenv(name, "")
            patch.delenv(name)
        compile_model(scorer_request)
    return scorer_request.out / "model.pt2"


@pytest.fixture(params=VERSIONS)
def bench(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.delenv("PACK_TENSORRT_TACTICS", raising=False)
    return Bench(request.param, tmp_path, monkeypatch)
