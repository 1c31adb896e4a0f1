from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from graphs import make_context, parse_graph, random_weights
from packc.cache import Cache
from packc.candidate import PassStep
from packc.ingest.source import SourceInfo, SourceModel
from packc.passes import lower
from packc.passes.lower import LoweringError, lower_graph
from packc.passes.model_file import load_model, save_model
from packc.passes.request import Request, read_request
from packc.tensors import TensorSpec

GRAPH = "agraph (float[batch, 8] x) => (float[batch, 8] y) { dead = Sqrt(x)\n y = MatMul(x, w) }"
CLEAN, DYNAMIC, STATIC = PassStep("clean_graph"), PassStep("quantize_dynamic"), PassStep("quantize_static")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cache:
    monkeypatch.setenv("PACK_CACHE_DIR", str(tmp_path / "cache"))
    return Cache()


@pytest.fixture
def source(tmp_path: Path) -> SourceModel:
    graph = tmp_path / "export" / "model.onnx"
    graph.parent.mkdir()
    save_model(parse_graph(GRAPH, {"w": random_weights(8, 8)}), graph)
    info = SourceInfo(
        origin="onnx", location=str(graph), revision=None, fingerprint="f", task="tensors", architecture=None,
        geometry=None, preprocessing=None, pooling="none", normalize=False, labels=(), parameters=64, weights_mib=0.0,
        trust_remote_code=False,
    )  # fmt: skip
    spec = TensorSpec("x", "float32", ("batch", 8))
    return SourceModel(info, graph, (spec,), (replace(spec, name="y"),), "y", 0.0, "test")


@pytest.fixture
def calibration(tmp_path: Path) -> Path:
    return make_context(tmp_path, samples=[{"x": random_weights(1, 8)}]).calibration


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[Request]:
    """The requests that reached the worker."""
    requests: list[Request] = []
    original = lower.run_child

    def record(module: str, file: Path, what: str, time_limit_s: float) -> str | None:
        requests.append(read_request(file))
        return original(module, file, what, time_limit_s)

    monkeypatch.setattr(lower, "run_child", record)
    return requests


def test_no_steps_give_the_graph_as_it_was_exported(source: SourceModel, calibration: Path, cache: Cache) -> None:
    lowered = lower_graph(source, (), calibration, cache)
    assert (lowered.model, lowered.reports) == (source.graph, ())


def test_candidates_share_their_first_steps(
    source: SourceModel, calibration: Path, cache: Cache, runs: list[Request]
) -> None:
    dynamic = lower_graph(source, (CLEAN, DYNAMIC), calibration, cache)
    assert [report.name for report in dynamic.reports] == ["clean_graph", "quantize_dynamic"]
    assert "MatMulInteger" in {node.op_type for node in load_model(dynamic.model).graph}
    clean = lower_graph(source, (CLEAN,), calibration, cache)
    assert [node.op_type for node in load_model(clean.model).graph] == ["MatMul"]
    static = lower_graph(source, (CLEAN, STATIC), calibration, cache)
    assert [report.name for report in static.reports] == ["clean_graph", "quantize_static"]
    assert [request.steps for request in runs] == [(CLEAN, DYNAMIC), (STATIC,)]
    assert runs[1].model == clean.model
    assert sorted(file.name for file in static.model.parent.iterdir()) == ["model.onnx", "reports.json"]


def test_only_what_looks_at_calibration_depends_on_it(
    source: SourceModel, calibration: Path, cache: Cache, runs: list[Request], tmp_path: Path
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    changed = make_context(other, samples=[{"x": 9 * random_weights(1, 8)}]).calibration
    first = lower_graph(source, (DYNAMIC,), calibration, cache)
    assert lower_graph(source, (DYNAMIC,), changed, cache) == first
    first = lower_graph(source, (STATIC,), calibration, cache)
    assert lower_graph(source, (STATIC,), changed, cache).model != first.model
    assert len(runs) == 3


def test_another_graph_is_another_entry(
    source: SourceModel, calibration: Path, cache: Cache, runs: list[Request]
) -> None:
    lower_graph(source, (CLEAN,), calibration, cache)
    save_model(parse_graph(GRAPH, {"w": np.eye(8, dtype=np.float32)}), source.graph)
    lower_graph(source, (CLEAN,), calibration, cache)
    assert len(runs) == 2


def test_a_failed_pass_is_one_line_and_leaves_nothing(source: SourceModel, calibration: Path, cache: Cache) -> None:
    steps = (PassStep("quantize_dynamic", {"exclude": "ffn_down"}),)
    with pytest.raises(LoweringError, match=r"^exclude=ffn_down: the model's layer widths are not known$"):
        lower_graph(source, steps, calibration, cache)
    assert cache.entries() == []


def test_a_hang_ends_at_the_limit(source: SourceModel, calibration: Path, cache: Cache) -> None:
    with pytest.raises(LoweringError, match=r"took more than 0\.01 s"):
        lower_graph(source, (CLEAN,), calibration, cache, time_limit_s=0.01)
