from __future__ import annotations

import ast
import sys
from pathlib import Path

import numpy as np
import pytest

from cuda_stub import StubOrt
from packc.runtimes import onnxruntime_cuda_engine as engine


@pytest.fixture
def ort(monkeypatch: pytest.MonkeyPatch) -> StubOrt:
    stub = StubOrt()
    monkeypatch.setattr(engine, "ort", stub)
    return stub


def make_input(rows: int, value: float = 1.0) -> dict[str, np.ndarray]:
    return {"x": np.full((rows, 2), value, np.float32)}


def test_options_of_the_provider_are_off_unless_given(ort: StubOrt) -> None:
    engine.load("m", {}, threads=1)
    off = {"device_id": "0", "use_tf32": "0", "enable_cuda_graph": "0", "prefer_nhwc": "0"}
    assert ort.asked == off
    engine.load("m", {"tf32": True, "graph": True, "nhwc": True, "device": 1}, threads=1)
    assert ort.asked == {"device_id": "1", "use_tf32": "1", "enable_cuda_graph": "1", "prefer_nhwc": "1"}


def test_tensorrts_provider_comes_first_and_keeps_its_engines_in_the_bundle(ort: StubOrt, tmp_path: Path) -> None:
    ort.providers = ("TensorrtExecutionProvider", *ort.providers)
    options = {"tensorrt": True, "trt_profile_opt_shapes": "x:1x2", "device": 1}
    session = engine.load(str(tmp_path / "model" / "model.onnx"), options, threads=1)
    assert ort.asked == {
        "device_id": "1",
        "trt_cuda_graph_enable": "0",
        "trt_profile_opt_shapes": "x:1x2",
        "trt_engine_cache_enable": "1",
        "trt_engine_cache_path": str(tmp_path / "engines"),
        "trt_timing_cache_enable": "1",
        "trt_timing_cache_path": str(tmp_path / "engines"),
    }
    for value in (1.0, 2.0, 3.0):
        np.testing.assert_array_equal(engine.run(session, make_input(3, value))["y"], np.full((3, 2), 2 * value))
    with pytest.raises(RuntimeError, match=r"^TensorRT's provider has one execution context for all shapes"):
        engine.load("m", {"tensorrt": True, "graph": True}, threads=1)
    ort.asked.clear()
    engine.open_session("m", None, {"tensorrt": True})
    assert ort.asked == {"device_id": "0", "trt_cuda_graph_enable": "0"}


def test_a_session_without_tensorrt_is_refused_where_it_was_asked_for(ort: StubOrt) -> None:
    with pytest.raises(RuntimeError, match=r"could not use TensorRT: it needs libnvinfer of the version that it was"):
        engine.load("m", {"tensorrt": True}, threads=1)


def test_calls_without_graph_run_kernel_by_kernel(ort: StubOrt) -> None:
    session = engine.load("m", {}, threads=1)
    for value in (1.0, 2.0, 3.0):
        np.testing.assert_array_equal(engine.run(session, make_input(3, value))["y"], np.full((3, 2), 2 * value))
    assert ort.runs == [None] * 3


def test_the_second_call_of_a_shape_records_and_later_ones_replay(ort: StubOrt) -> None:
    session = engine.load("m", {"graph": True}, threads=1)
    for value in (1.0, 2.0, 3.0):
        np.testing.assert_array_equal(engine.run(session, make_input(3, value))["y"], np.full((3, 2), 2 * value))
    engine.run(session, make_input(1))
    engine.run(session, make_input(1))
    assert ort.runs == ["-1", "1", "1", "1", "-1", "2", "2"]


def test_shapes_beyond_the_limit_run_without_a_graph(ort: StubOrt, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "MOST_GRAPHS", 1)
    session = engine.load("m", {"graph": True}, threads=1)
    for rows in (1, 1, 2, 2):
        assert engine.run(session, make_input(rows))["y"].shape == (rows, 2)
    assert ort.runs == ["-1", "1", "1", "-1", "-1"]


def test_buffers_of_many_shapes_are_given_up_again(ort: StubOrt, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "MOST_SHAPES", 2)
    session = engine.load("m", {"graph": True}, threads=1)
    for rows in (1, 1, 2, 3, 4, 5):
        engine.run(session, make_input(rows))
    assert [dict(bound.inputs)["x"].buffer.shape[0] for bound in session.bound.values()] == [1, 4, 5]


def test_large_buffers_of_many_shapes_are_given_up_sooner(ort: StubOrt, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "MOST_LOOSE_BYTES", 16 * 8)  # inputs and outputs of 8 rows
    session = engine.load("m", {"graph": True}, threads=1)
    kept = []
    for rows in (1, 1, 3, 4, 5, 9, 2):
        engine.run(session, make_input(rows))
        kept.append([bound.inputs["x"].buffer.shape[0] for bound in session.bound.values()])
    assert kept == [[1], [1], [1, 3], [1, 3, 4], [1, 5], [1, 9], [1, 2]]


def test_answers_are_not_overwritten_by_the_next_call(ort: StubOrt) -> None:
    session = engine.load("m", {"graph": True}, threads=1)
    first, *_ = [engine.run(session, make_input(1, value))["y"] for value in (1.0, 2.0, 3.0)]
    np.testing.assert_array_equal(first, [[2.0, 2.0]])


def test_what_cannot_be_recorded_is_the_failure_of_the_candidate(ort: StubOrt) -> None:
    ort.failure = "Non-zero status\nstack"
    session = engine.load("m", {"graph": True}, threads=1)
    engine.run(session, make_input(1))
    with pytest.raises(RuntimeError, match=r"^capture failed: Non-zero status$"):
        engine.run(session, make_input(1))
    ort.load_failure = "This session cannot use the graph capture feature\nas requested"
    with pytest.raises(RuntimeError, match=r"^capture failed: This session cannot use the graph capture feature$"):
        engine.load("m", {"graph": True}, threads=1)


def test_a_shape_whose_first_call_failed_is_new_to_the_next(ort: StubOrt) -> None:
    session = engine.load("m", {"graph": True}, threads=1)
    ort.call_failure = "indices element out of data bounds"
    for _ in range(2):
        with pytest.raises(RuntimeError, match=r"^indices element out of data bounds$"):
            engine.run(session, make_input(1))
    ort.call_failure = None
    for value in (1.0, 2.0, 3.0):
        np.testing.assert_array_equal(engine.run(session, make_input(1, value))["y"], np.full((1, 2), 2 * value))
    assert ort.runs == ["-1", "1", "1", "1"]


def test_what_could_not_be_recorded_runs_kernel_by_kernel_then(ort: StubOrt) -> None:
    session = engine.load("m", {"graph": True}, threads=1)
    engine.run(session, make_input(1))
    ort.failure = "out of memory"
    with pytest.raises(RuntimeError, match=r"^capture failed: out of memory$"):
        engine.run(session, make_input(1))
    ort.failure = None
    for rows, value in ((1, 4.0), (1, 5.0), (2, 6.0), (2, 7.0)):
        np.testing.assert_array_equal(engine.run(session, make_input(rows, value))["y"], np.full((rows, 2), 2 * value))
    assert ort.runs == ["-1"] * 5, "nor is another shape recorded"


def test_a_session_that_fell_back_to_the_cpu_is_refused(ort: StubOrt) -> None:
    ort.providers = ("CPUExecutionProvider",)
    with pytest.raises(RuntimeError, match=r"could not use a GPU \(its providers: CPUExecutionProvider\)"):
        engine.load("m", {}, threads=1)


def test_describe_leaves_out_what_the_system_does_not_tell(ort: StubOrt, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(name: str) -> None:
        raise OSError(name)

    monkeypatch.setattr(engine.ctypes, "CDLL", refuse)
    assert engine.describe(engine.load("m", {}, 1)) == {"onnxruntime-gpu": "1.0", "device": "an NVIDIA GPU"}


def test_what_a_session_takes_of_the_gpus_memory(ort: StubOrt, monkeypatch: pytest.MonkeyPatch) -> None:
    free = iter([10 * 2**30, 9 * 2**30, None])
    monkeypatch.setattr(engine, "read_free_bytes", lambda device: next(free))
    session = engine.load("m", {}, 1)
    assert engine.device_memory_mib(session) == 1024
    assert engine.device_memory_mib(session) is None


def test_without_a_driver_nobody_knows_the_memory(ort: StubOrt, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(name: str) -> None:
        raise OSError(name)

    monkeypatch.setattr(engine.ctypes, "CDLL", refuse)
    assert engine.device_memory_mib(engine.load("m", {}, 1)) is None


def test_the_engine_imports_only_what_a_device_has() -> None:
    tree = ast.parse(Path(engine.__file__).read_text("utf-8"))
    imported = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    imported |= {name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names}
    assert {(name or "").split(".")[0] for name in imported} - sys.stdlib_module_names == {"numpy", "onnxruntime"}
