from __future__ import annotations

import json
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

import torch

from packc.host import list_instructions
from packc.ingest.load_source import load_source
from packc.runtimes import aotinductor_compile
from packc.runtimes import aotinductor_engine as engine
from packc.runtimes.compile import CompileRequest

GENERATOR = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def unchanged(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the compiler and the loader of factories set for their own process."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    for name in ("TORCHINDUCTOR_CACHE_DIR", "CXX"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)


@pytest.mark.parametrize("rows", [1, 2, 5])
def test_the_package_answers_as_its_source_for_any_batch(
    scorer_request: CompileRequest, scorer_package: Path, rows: int
) -> None:
    assert scorer_request.info is not None
    source = load_source(scorer_request.info, scorer_request.search_path)
    feed = {"features": GENERATOR.normal(size=(rows, 8)).astype(np.float32), "shift": np.full(rows, 10)}
    answer, wanted = engine.run(engine.load(str(scorer_package), {}, 1), feed), source.answer(feed)
    assert {name: array.dtype for name, array in answer.items()} == {name: a.dtype for name, a in wanted.items()}
    np.testing.assert_allclose(answer["scores"], wanted["scores"], atol=0.03)
    np.testing.assert_array_equal(answer["best"], answer["scores"].argmax(1) + 10)
    assert np.any(answer["scores"] != wanted["scores"]), "it is in bf16"


def test_it_says_what_it_needs_and_keeps_nothing_of_the_build(scorer_package: Path) -> None:
    with zipfile.ZipFile(scorer_package) as archive:
        facts = json.loads(archive.read(next(n for n in archive.namelist() if n.endswith("wrapper_metadata.json"))))
        library = archive.read(next(name for name in archive.namelist() if name.endswith(".so")))
    assert facts["pack.torch"] == torch.__version__.partition("+")[0]
    assert json.loads(facts["pack.inputs"]) == ["features", "shift"]
    assert json.loads(facts["pack.outputs"]) == ["scores", "best"]
    assert str(scorer_package.parent).encode() not in library
    assert [path.name for path in scorer_package.parent.iterdir()] == ["model.pt2"]


def test_a_cpu_has_to_have_all_that_the_compiler_could_use(scorer_package: Path) -> None:
    assert engine.read_facts(str(scorer_package)).isa == set(list_instructions())


def test_threads_are_no_constant_of_the_code(scorer_package: Path) -> None:
    with zipfile.ZipFile(scorer_package) as archive:
        code = b"".join(archive.read(name) for name in archive.namelist() if name.endswith(".cpp"))
    assert b"num_threads(" not in code


def test_weights_are_packed_in_bf16_alone(scorer_request: CompileRequest) -> None:
    assert scorer_request.info is not None
    reference = load_source(scorer_request.info, scorer_request.search_path)
    frozen = [aotinductor_compile.make_settings(reference, p, "2.13.0", [])["freezing"] for p in ("fp32", "bf16")]
    assert frozen == [False, True]
