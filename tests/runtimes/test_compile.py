from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import TypeAdapter

from packc.cache import Cache
from packc.candidate import PassStep
from packc.runtimes import compile as compile_module
from packc.runtimes.compile import CompileError, CompileRequest, compile_artifact
from packc.runtimes.onnxruntime import OnnxRuntime
from sources import source_info

STEP = PassStep("shout", {"times": 2})
INFO = source_info("feature-extraction", None)


class Shouter(OnnxRuntime):
    """A runtime whose compiler copies the graph in capitals."""

    compiler = "shouter"
    model_filename = "model.txt"
    larynx = "1"

    def calibrates(self, step: PassStep) -> bool:
        return "times" in step.options

    def compiler_versions(self) -> Mapping[str, str]:
        return {"larynx": self.larynx}

    def versions(self) -> Mapping[str, str]:
        return {"shouter": "1"}


@pytest.fixture
def graph(tmp_path: Path) -> Path:
    path = tmp_path / "graph" / "model.onnx"
    path.parent.mkdir()
    path.write_text("text")
    return path


@pytest.fixture
def calibration(tmp_path: Path) -> Path:
    path = tmp_path / "calibration.npz"
    path.write_bytes(b"samples")
    return path


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[CompileRequest]:
    """The requests that reached the compiler, which a stand-in plays."""
    requests: list[CompileRequest] = []

    def run(module: str, file: Path, what: str, time_limit_s: float) -> str | None:
        request = TypeAdapter(CompileRequest).validate_json(file.read_bytes())
        requests.append(request)
        if "fail" in request.step.options:
            return f"{what} has no kernel"
        (request.out / "model.txt").write_text(request.model.read_text().upper())
        (request.out / "remarks.json").write_text('["loud"]')
        return None

    monkeypatch.setattr(compile_module, "run_child", run)
    return requests


def test_an_artifact_is_made_once_and_kept(
    tmp_path: Path, graph: Path, calibration: Path, runs: list[CompileRequest], caplog: pytest.LogCaptureFixture
) -> None:
    cache = Cache(tmp_path / "cache")
    with caplog.at_level("INFO"):
        first, again = (
            compile_artifact(Shouter(), STEP, graph, INFO, calibration, cache, reused="x: compiled before")
            for _ in range(2)
        )
    assert (first, len(runs), caplog.messages) == (again, 1, ["x: compiled before"])
    assert (first.model.read_text(), first.remarks) == ("TEXT", ("loud",))
    assert (runs[0].compiler, runs[0].step) == ("shouter", STEP)


def test_graph_options_and_calibration_make_another_one(
    tmp_path: Path, graph: Path, calibration: Path, runs: list[CompileRequest]
) -> None:
    cache = Cache(tmp_path / "cache")
    compile_artifact(Shouter(), STEP, graph, INFO, calibration, cache)
    compile_artifact(Shouter(), PassStep("shout"), graph, INFO, calibration, cache)
    calibration.write_bytes(b"other samples")
    compile_artifact(Shouter(), STEP, graph, INFO, calibration, cache)
    graph.write_text("another text")
    compile_artifact(Shouter(), STEP, graph, INFO, calibration, cache)
    assert len(runs) == 4


def test_samples_are_given_and_counted_where_they_are_read(
    tmp_path: Path, graph: Path, calibration: Path, runs: list[CompileRequest]
) -> None:
    cache = Cache(tmp_path / "cache")
    compile_artifact(Shouter(), PassStep("shout"), graph, INFO, calibration, cache)
    calibration.write_bytes(b"other samples")
    compile_artifact(Shouter(), PassStep("shout"), graph, INFO, calibration, cache)
    compile_artifact(Shouter(), STEP, graph, INFO, calibration, cache)
    assert [request.calibration for request in runs] == [None, calibration]


def test_another_cpu_or_tool_makes_another_one(
    tmp_path: Path, graph: Path, calibration: Path, runs: list[CompileRequest], monkeypatch: pytest.MonkeyPatch
) -> None:
    cache, runtime = Cache(tmp_path / "cache"), Shouter()
    compile_artifact(runtime, STEP, graph, INFO, calibration, cache)
    monkeypatch.setattr(compile_module, "list_instructions", lambda: ("avx2", "sse2"))
    compile_artifact(runtime, STEP, graph, INFO, calibration, cache)
    runtime.larynx = "2"
    compile_artifact(runtime, STEP, graph, INFO, calibration, cache)
    assert len(runs) == 3


def test_a_compiler_of_sources_is_told_the_source_and_its_tools(
    tmp_path: Path, graph: Path, calibration: Path, runs: list[CompileRequest], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Reader(Shouter):
        reads = "source"

    cache, tools = Cache(tmp_path / "cache"), {"torch": "1"}
    monkeypatch.setattr(compile_module, "find_tool_versions", lambda info: dict(tools))
    compile_artifact(Reader(), STEP, graph, INFO, calibration, cache)
    compile_artifact(Reader(), STEP, graph, replace(INFO, location="moved"), calibration, cache)
    assert (runs[0].info, len(runs)) == (INFO, 1)
    assert runs[0].search_path
    tools["torch"] = "2"
    compile_artifact(Reader(), STEP, graph, INFO, calibration, cache)
    compile_artifact(Shouter(), STEP, graph, INFO, calibration, cache)
    assert [request.info for request in runs[1:]] == [INFO, None]


def test_a_failure_is_one_line_and_leaves_nothing(
    tmp_path: Path, graph: Path, calibration: Path, runs: list[CompileRequest]
) -> None:
    cache = Cache(tmp_path / "cache")
    with pytest.raises(CompileError, match=r"^the compiler has no kernel$"):
        compile_artifact(Shouter(), PassStep("shout", {"fail": True}), graph, INFO, calibration, cache)
    assert cache.entries() == []
