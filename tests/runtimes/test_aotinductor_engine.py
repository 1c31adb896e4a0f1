from __future__ import annotations

import ast
import zipfile
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

import torch

from packc.runtimes import aotinductor_engine as engine

FEED = {"features": np.ones((3, 8), np.float32), "shift": np.zeros(3, np.int64)}


@pytest.fixture
def model(scorer_package: Path) -> str:
    return str(scorer_package)


def test_the_engine_answers_every_output_by_name(model: str) -> None:
    session = engine.load(model, {}, threads=1)
    frozen = {name: array.copy() for name, array in FEED.items()}
    frozen["features"].flags.writeable = False
    first = engine.run(session, frozen)
    kept = first["scores"].copy()
    engine.run(session, {**FEED, "features": FEED["features"] * 2})
    assert list(first) == ["scores", "best"]
    np.testing.assert_array_equal(first["scores"], kept)


def test_inputs_are_taken_by_name_whatever_their_order(model: str) -> None:
    session = engine.load(model, {}, threads=1)
    turned = engine.run(session, dict(reversed(FEED.items())))
    np.testing.assert_array_equal(turned["scores"], engine.run(session, FEED)["scores"])


def test_it_takes_the_threads_that_it_is_given(model: str) -> None:
    before = torch.get_num_threads()
    try:
        engine.load(model, {}, threads=2)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_a_tensor_of_another_shape_is_an_error(model: str) -> None:
    session = engine.load(model, {}, threads=1)
    with pytest.raises(RuntimeError):
        engine.run(session, {**FEED, "features": np.ones((3, 7), np.float32)})


def test_another_torch_is_refused_before_it_crashes(model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "__version__", "2.99.0+cpu")
    with pytest.raises(RuntimeError, match=r"compiled for torch 2\.\d+\.\d+ and this is torch 2\.99\.0: pip install"):
        engine.load(model, {}, 1)


def test_a_cpu_that_lacks_instructions_is_refused(model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cpuinfo").write_text("model name\t: Old\nflags\t\t: fpu sse2\n")
    monkeypatch.setattr(engine, "CPUINFO", tmp_path / "cpuinfo")
    if not engine.read_facts(model).isa:
        pytest.skip("compiled for a CPU without flags that matter")
    with pytest.raises(RuntimeError, match=r"compiled for CPUs with .*, which this one lacks"):
        engine.load(model, {}, 1)


def test_a_package_of_somebody_else_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "model.pt2", "w") as archive:
        archive.writestr("model/data/aotinductor/model/a.wrapper_metadata.json", "{}")
    with pytest.raises(RuntimeError, match="pack did not make it"):
        engine.load(str(tmp_path / "model.pt2"), {}, 1)


def test_describe_names_the_version(model: str) -> None:
    assert torch.__version__.startswith(engine.describe(engine.load(model, {}, 1))["torch"])


def test_the_engine_imports_nothing_of_packc() -> None:
    tree = ast.parse(Path(engine.__file__).read_text())
    names = {n.module if isinstance(n, ast.ImportFrom) else n.names[0].name
             for n in ast.walk(tree) if isinstance(n, ast.Import | ast.ImportFrom)}  # fmt: skip
    assert not any(name.startswith("packc") for name in names)
