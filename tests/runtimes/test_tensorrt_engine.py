from __future__ import annotations

import ast
import ctypes
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from cuda_memory import StubCuda
from packc import runtimes
from tensorrt_stub import DEVICE_MISMATCH, VERSIONS, World, make_tensorrt, save_network

ENGINE = Path(runtimes.__file__).with_name("tensorrt_engine.py")
PROFILE = "x=1x2/2x2/4x2"
DYNAMIC = {"precision": "fp32", "profiles": [PROFILE]}


class Bench:
    """The engine with a stub of TensorRT, and a folder with a graph."""

    def __init__(self, version: str, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self.cuda = StubCuda()
        self.world = World(self.cuda, int(version.split(".")[0]))
        self.trt = make_tensorrt(version, self.world)
        self.folder = folder
        self.model = str(save_network(folder / "model.onnx"))
        self.plan = folder / "model.plan"
        patch.setitem(sys.modules, "tensorrt", self.trt)
        patch.setattr(ctypes, "CDLL", self.open_library)
        spec = importlib.util.spec_from_file_location("engine_of_a_bundle", ENGINE)
        assert spec is not None
        assert spec.loader is not None
        self.engine: Any = importlib.util.module_from_spec(spec)
        patch.setitem(sys.modules, spec.name, self.engine)
        spec.loader.exec_module(self.engine)

    def open_library(self, name: str) -> Any:
        if name == "libcuda.so.1":
            return self.cuda
        if name.startswith("libnvinfer.so.") and self.world.dialect > 8:
            parts = zip(("Major", "Minor", "Patch", "Build"), (10, 3, 0, 26), strict=True)
            return SimpleNamespace(**{f"getInferLib{part}Version": lambda n=n: n for part, n in parts})
        raise OSError(f"{name}: no such file")

    @property
    def config(self) -> Any:
        return self.world.configs[-1]

    def flags(self) -> set[str]:
        return {flag.name for flag in self.config._flags}

    def run(self, session: Any, rows: int, value: float = 1.0) -> Any:
        return self.engine.run(session, {"x": np.full((rows, 2), value, np.float32)})["y"]


@pytest.fixture(params=VERSIONS)
def bench(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.delenv("PACK_TENSORRT_TACTICS", raising=False)
    return Bench(request.param, tmp_path, monkeypatch)


only_8 = pytest.mark.parametrize("bench", ["8.6"], indirect=True)
from_10 = pytest.mark.parametrize("bench", ["10.16", "11.4"], indirect=True)


def test_a_graph_is_built_loaded_and_run(bench: Bench) -> None:
    session = bench.engine.load(bench.model, DYNAMIC, threads=1)
    for rows, value in ((1, 1.0), (4, 2.0), (1, 3.0), (3, 4.0)):
        np.testing.assert_array_equal(bench.run(session, rows, value), np.full((rows, 2), 2 * value))
    assert bench.cuda.done == ["to device", "execute", "to host"] * 4


def test_a_plan_is_loaded_as_it_is(bench: Bench) -> None:
    bench.engine.build(bench.model, str(bench.plan), DYNAMIC)
    built = len(bench.world.configs)
    session = bench.engine.load(str(bench.plan), DYNAMIC, threads=1)
    assert bench.run(session, 2).shape == (2, 2)
    assert len(bench.world.configs) == built


def test_the_facts_beside_a_plan(bench: Bench) -> None:
    facts = bench.engine.build(bench.model, str(bench.plan), {"profiles": (PROFILE,), "precision": "fp32"})
    assert json.loads(bench.plan.with_suffix(".json").read_text()) == facts
    assert json.loads((bench.folder / "model.layers.json").read_text()) == {
        "Layers": [{"Name": "double", "Shapes": {"x": [2, 2]}}]
    }
    assert {name: facts[name] for name in ("dialect", "device", "compute_capability", "cuda", "profiles")} == {
        "dialect": bench.world.dialect,
        "device": "NVIDIA H200",
        "compute_capability": "9.0",
        "cuda": "13.0",
        "profiles": [PROFILE],
    }
    assert facts["tensorrt"] == ("8.6.0" if bench.world.dialect == 8 else "10.3.0.26")
    assert facts["inputs"] == [{"name": "x", "dtype": "float32", "dims": [-1, 2]}]
    assert facts["outputs"] == [{"name": "y", "dtype": "float32", "dims": [-1, 2]}]
    assert facts["options"] == {"profiles": [PROFILE], "precision": "fp32"}
    assert (facts["layers"], facts["warnings"]) == (3, ["a warning"])
    assert sorted(path.name for path in bench.folder.iterdir()) == [
        "model.json", "model.layers.json", "model.onnx", "model.plan",
    ]  # fmt: skip


def test_what_a_session_tells(bench: Bench) -> None:
    session = bench.engine.load(bench.model, DYNAMIC, threads=1)
    facts = bench.engine.describe(session)
    assert (facts["device"], facts["cuda"], facts["tensorrt"][:2]) == ("NVIDIA H200", "13.0", facts["tensorrt"][:2])
    bench.run(session, 4)
    assert bench.engine.device_memory_mib(session) == 2 * 4 * 2 * 4 / 2**20


def test_the_drivers_version_is_told_where_the_system_does(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def read(path: Path, encoding: str) -> str:
        assert str(path) == "/proc/driver/nvidia/version"
        return "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  570.86.15  Release Build\nGCC version: 12\n"

    def refuse(path: Path, encoding: str) -> str:
        raise FileNotFoundError(path)

    monkeypatch.setattr(Path, "read_text", read)
    assert bench.engine.Device(0).describe()["driver"] == "570.86.15"
    monkeypatch.setattr(Path, "read_text", refuse)
    assert "driver" not in bench.engine.Device(0).describe()


def test_the_network_is_strongly_typed_where_it_can_be(bench: Bench) -> None:
    bench.engine.build(bench.model, str(bench.plan), DYNAMIC)
    flag = bench.trt.NetworkDefinitionCreationFlag
    expected = flag.EXPLICIT_BATCH if bench.world.dialect == 8 else flag.STRONGLY_TYPED
    assert bench.world.creation_flags == [1 << int(expected)]


@pytest.mark.parametrize(
    ("precision", "weak", "strong"),
    [
        ("fp32", set(), set()),
        ("tf32", {"TF32"}, {"TF32"}),
        ("fp16", {"FP16"}, set()),
        ("int8", {"INT8", "FP16"}, set()),
    ],
)
def test_flags_allow_precisions_in_the_weak_dialect_only(
    bench: Bench, precision: str, weak: set[str], strong: set[str]
) -> None:
    bench.engine.build(bench.model, str(bench.plan), {**DYNAMIC, "precision": precision})
    assert bench.flags() == (weak if bench.world.dialect == 8 else strong)


@only_8
@pytest.mark.parametrize("precision", ["bf16", "fp8"])
def test_a_precision_that_tensorrt_lacks_is_refused(bench: Bench, precision: str) -> None:
    with pytest.raises(RuntimeError, match=rf"^TensorRT 8\.6\.0 has no {precision} networks: use TensorRT 10 or later"):
        bench.engine.build(bench.model, str(bench.plan), {**DYNAMIC, "precision": precision})


@from_10
@pytest.mark.parametrize(("precision", "capability", "needed"), [("bf16", (7, 5), "8.0"), ("fp8", (8, 6), "8.9")])
def test_a_precision_that_the_gpu_lacks_is_refused(
    bench: Bench, precision: str, capability: tuple[int, int], needed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.engine.build(bench.model, str(bench.plan), {**DYNAMIC, "precision": precision})  # Hopper has both
    monkeypatch.setattr(bench.engine.Device, "compute_capability", lambda self: capability)
    with pytest.raises(RuntimeError, match=rf"has no {precision}, which needs {needed}: use another precision"):
        bench.engine.build(bench.model, str(bench.plan), {**DYNAMIC, "precision": precision})


def test_an_unknown_precision_is_refused(bench: Bench) -> None:
    with pytest.raises(RuntimeError, match=r"^precision 'int4' is not one of fp32, tf32, fp16, bf16, int8, fp8$"):
        bench.engine.build(bench.model, str(bench.plan), {"precision": "int4"})


def test_limits_and_tactics(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    sources = bench.trt.TacticSource
    jit, edge = 1 << int(sources.JIT_CONVOLUTIONS), 1 << int(sources.EDGE_MASK_CONVOLUTIONS)
    options = {**DYNAMIC, "level": 5, "workspace_mib": 64, "tactics": ["JIT_CONVOLUTIONS"]}
    bench.engine.build(bench.model, str(bench.plan), options)
    assert bench.config._pools == {"WORKSPACE": 64 * 2**20}
    assert (bench.config.builder_optimization_level, bench.config._sources) == (5, jit)
    monkeypatch.setenv("PACK_TENSORRT_TACTICS", "EDGE_MASK_CONVOLUTIONS, JIT_CONVOLUTIONS")
    bench.engine.build(bench.model, str(bench.plan), options)
    assert bench.config._sources == jit | edge


def test_tactics_are_left_alone_unless_named(bench: Bench) -> None:
    bench.engine.build(bench.model, str(bench.plan), DYNAMIC)
    assert bench.config._sources is None


def test_tactics_that_tensorrt_lacks_are_refused(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PACK_TENSORRT_TACTICS", "JIT_CONVOLUTIONS,CUBLASS")
    with pytest.raises(RuntimeError, match=r"has no TacticSource\.CUBLASS: leave .*; there are .*JIT_CONVOLUTIONS"):
        bench.engine.build(bench.model, str(bench.plan), DYNAMIC)


def test_a_timing_cache_is_read_and_written(bench: Bench) -> None:
    path = bench.folder / "timing.cache"
    options = {**DYNAMIC, "timing_cache": str(path)}
    for expected in (b"+", b"++"):
        bench.engine.build(bench.model, str(bench.plan), options)
        assert path.read_bytes() == expected
        facts = bench.plan.with_suffix(".json").read_text()
        assert str(bench.folder) not in facts, "packages publish them"
    path.write_bytes(DEVICE_MISMATCH.encode())
    bench.engine.build(bench.model, str(bench.plan), options)
    assert path.read_bytes() == b"+"


def test_opt_ins_are_flags_or_errors(bench: Bench) -> None:
    options = {**DYNAMIC, "version_compatible": True, "hardware_compatible": "ampere_plus"}
    bench.engine.build(bench.model, str(bench.plan), options)
    assert bench.flags() == {"VERSION_COMPATIBLE"}
    assert bench.config.hardware_compatibility_level.name == "AMPERE_PLUS"


@only_8
def test_a_level_of_compatibility_that_tensorrt_lacks(bench: Bench) -> None:
    with pytest.raises(RuntimeError, match=r"has no HardwareCompatibilityLevel\.SAME_COMPUTE_CAPABILITY"):
        bench.engine.build(bench.model, str(bench.plan), {**DYNAMIC, "hardware_compatible": "same_compute_capability"})


def test_a_version_compatible_plan_may_bring_code(bench: Bench) -> None:
    session = bench.engine.load(bench.model, {**DYNAMIC, "version_compatible": True}, threads=1)
    assert session.runtime.engine_host_code_allowed is True


def test_a_static_network_needs_no_profile(bench: Bench) -> None:
    save_network(Path(bench.model), inputs={"x": ("float32", [2, 2])}, outputs={"y": ("float32", [2, 2])})
    session = bench.engine.load(bench.model, {}, threads=1)
    assert bench.run(session, 2).shape == (2, 2)
    with pytest.raises(
        RuntimeError, match=r"^x has shape \[3, 2\], and the engine's profiles take \[2, 2\] to \[2, 2\]$"
    ):
        bench.run(session, 3)


def test_scalars_are_inputs_too(bench: Bench) -> None:
    save_network(Path(bench.model), inputs={"x": ("float32", [])}, outputs={"y": ("float32", [])})
    session = bench.engine.load(bench.model, {}, threads=1)
    assert bench.engine.run(session, {"x": np.float32(4)})["y"] == 8


@pytest.mark.parametrize(
    ("profiles", "message"),
    [
        ([], r"^no optimization profile is given, and inputs have open axes: x \[-1, 2\]$"),
        (["z=1x2"], r"^profile 'z=1x2' names 'z'; the graph's inputs are x$"),
        (["x=1/2/4"], r"^profile 'x=1/2/4' does not fit the input x \[-1, 2\]$"),
        (["x=1x2/2x3/4x2"], r"does not fit the input x \[-1, 2\]$"),
        (["x=1x2/2x2"], r"does not fit the input x"),
        (["x=2x2/1x2/4x2"], r"the shapes of x are not in order: least, usual, largest$"),
        ([""], r"^profile '' says nothing about inputs with open axes: x \[-1, 2\]$"),
    ],
)
def test_profiles_that_do_not_fit(bench: Bench, profiles: list[str], message: str) -> None:
    with pytest.raises(RuntimeError, match=message):
        bench.engine.build(bench.model, str(bench.plan), {"profiles": profiles})
    assert not bench.plan.exists()


def test_one_shape_stands_for_all_three(bench: Bench) -> None:
    shapes = {"x": (-1, 2), "n": (3,)}
    assert bench.engine.read_profile("x=4x2 n=3", shapes) == {"x": [(4, 2)] * 3, "n": [(3,)] * 3}


def test_the_profile_that_was_tuned_for_the_nearest_shape_is_used(bench: Bench) -> None:
    session = bench.engine.load(bench.model, {"profiles": ["x=1x2", "x=1x2/2x2/16x2", "x=1x2/16x2/16x2"]}, threads=1)
    assert [bench.engine.choose_profile(session, {"x": (rows, 2)}) for rows in (1, 2, 5, 6, 16)] == [0, 1, 1, 2, 2]
    for rows in (1, 3, 16, 3):
        assert bench.run(session, rows).shape[0] == rows
    assert {index: context._profile for index, context in session.contexts.items()} == {0: 0, 1: 1, 2: 2}
    message = r"^x has shape \[17, 2\], and the engine's profiles take \[1, 2\] to \[1, 2\], \[1, 2\] to \[16, 2\], "
    with pytest.raises(RuntimeError, match=message):
        bench.run(session, 17)


def test_inputs_that_have_no_profile_in_common(bench: Bench) -> None:
    shapes = {"x": ("float32", [-1]), "z": ("float32", [-1])}
    save_network(Path(bench.model), inputs=shapes, outputs={"y": ("float32", [-1])})
    session = bench.engine.load(bench.model, {"profiles": ["x=1 z=1", "x=2 z=2"]}, threads=1)
    with pytest.raises(
        RuntimeError, match=r"^z has shape \[2\], and the engine's profiles take \[1\] to \[1\], \[2\] to"
    ):
        bench.engine.run(session, {"x": np.ones(1, np.float32), "z": np.ones(2, np.float32)})


def test_missing_inputs_are_named(bench: Bench) -> None:
    session = bench.engine.load(bench.model, DYNAMIC, threads=1)
    with pytest.raises(RuntimeError, match=r"^inputs are missing: x$"):
        bench.engine.run(session, {"other": np.zeros(1)})


def test_the_second_call_of_a_shape_is_recorded_and_later_ones_replayed(bench: Bench) -> None:
    session = bench.engine.load(bench.model, {**DYNAMIC, "graph": True}, threads=1)
    single = ["to device", "execute", "to host"]
    for value in (1.0, 2.0, 3.0):
        np.testing.assert_array_equal(bench.run(session, 3, value), np.full((3, 2), 2 * value))
    assert bench.cuda.done == [*single, "launch", "launch"]
    assert bench.run(session, 2, 5.0)[0, 0] == 10
    assert bench.run(session, 3, 6.0)[0, 0] == 12
    assert bench.cuda.done[5:] == [*single, "launch"]
    assert bench.run(session, 1, 1.0)[0, 0] == 2
    assert bench.run(session, 2, 7.0)[0, 0] == 14
    assert bench.cuda.done[9:] == [*single, *single, "launch"]  # after another shape, a call goes before the recording


def test_graphs_are_recorded_again_where_memory_has_moved(bench: Bench) -> None:
    session = bench.engine.load(bench.model, {**DYNAMIC, "graph": True}, threads=1)
    for rows in (1, 1, 4):
        bench.run(session, rows)
    assert session.graphs == 0
    assert bench.cuda.graphs.keys() <= {1000}  # what was recorded is given up
    for value in (1.0, 2.0, 3.0):
        assert bench.run(session, 1, value)[0, 0] == 2 * value
    assert session.graphs == 1


def test_shapes_beyond_the_limit_run_without_a_graph(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench.engine, "MOST_GRAPHS", 1)
    monkeypatch.setattr(bench.engine, "MOST_SHAPES", 2)
    session = bench.engine.load(bench.model, {**DYNAMIC, "graph": True}, threads=1)
    for rows in (4, 4, 2, 2, 3, 1):
        assert bench.run(session, rows).shape[0] == rows
    assert (session.graphs, bench.cuda.done.count("launch")) == (1, 1)
    assert list(session.calls) == [((4, 2),), ((1, 2),)]


def test_answers_are_not_overwritten_by_the_next_call(bench: Bench) -> None:
    session = bench.engine.load(bench.model, {**DYNAMIC, "graph": True}, threads=1)
    first, *_ = [bench.run(session, 1, value) for value in (1.0, 2.0, 3.0)]
    np.testing.assert_array_equal(first, [[2.0, 2.0]])


def test_what_cannot_be_recorded_is_the_failure_of_the_candidate(bench: Bench) -> None:
    session = bench.engine.load(bench.model, {**DYNAMIC, "graph": True}, threads=1)
    bench.run(session, 1)
    bench.cuda.breaks_captures = True
    with pytest.raises(RuntimeError, match=r"^capture failed: .*CUDA_ERROR_STREAM_CAPTURE_INVALIDATED$"):
        bench.run(session, 1)
    assert bench.cuda.captured is None


def test_whole_numbers_become_what_the_binding_takes(bench: Bench) -> None:
    save_network(Path(bench.model), inputs={"x": ("int64", [2])}, outputs={"y": ("int64", [2])})
    session = bench.engine.load(bench.model, {}, threads=1)
    dtype = np.int32 if bench.world.dialect == 8 else np.int64
    answer = bench.engine.run(session, {"x": np.array([1, -3], np.int64)})["y"]
    assert (answer.tolist(), answer.dtype) == ([2, -6], dtype)
    large = {"x": np.array([0, 2**40])}
    if bench.world.dialect == 8:
        with pytest.raises(RuntimeError, match=r"^x has values that the engine's int32 cannot hold$"):
            bench.engine.run(session, large)
    else:
        assert bench.engine.run(session, large)["y"].tolist() == [0, 2**41]
    with pytest.raises(RuntimeError, match=rf"^x is float32, and the engine takes {np.dtype(dtype)}$"):
        bench.engine.run(session, {"x": np.ones(2, np.float32)})


def test_half_precision_takes_infinities_but_no_large_values(bench: Bench) -> None:
    save_network(Path(bench.model), inputs={"x": ("float16", [2])}, outputs={"y": ("float16", [2])})
    session = bench.engine.load(bench.model, {}, threads=1)
    answer = bench.engine.run(session, {"x": np.array([1.5, -np.inf])})["y"]
    assert (answer.tolist(), answer.dtype) == ([3.0, -np.inf], np.float16)
    with pytest.raises(RuntimeError, match=r"^x has values that the engine's float16 cannot hold$"):
        bench.engine.run(session, {"x": np.array([70000.0, np.inf])})
    assert bench.engine.run(session, {"x": np.array([True, False])})["y"].tolist() == [2, 0]


@from_10
def test_types_that_numpy_lacks_are_refused_at_the_border(bench: Bench) -> None:
    save_network(Path(bench.model), inputs={"x": ("bfloat16", [2])}, outputs={"y": ("float32", [2])})
    with pytest.raises(RuntimeError, match=r"^x is BF16 at the engine's border, which numpy lacks"):
        bench.engine.load(bench.model, {}, threads=1)
    assert json.loads(bench.plan.with_suffix(".json").read_text())["inputs"][0]["dtype"] == "bf16"


def test_outputs_whose_shape_depends_on_values_are_refused(bench: Bench) -> None:
    save_network(Path(bench.model), inputs={"x": ("float32", [2])}, outputs={"y": ("float32", [2, -1])})
    session = bench.engine.load(bench.model, {}, threads=1)
    with pytest.raises(RuntimeError, match=r"^the shape of y depends on values, which pack's engines do not support$"):
        bench.engine.run(session, {"x": np.ones(2, np.float32)})


def test_inputs_whose_values_decide_shapes_are_refused(bench: Bench) -> None:
    save_network(Path(bench.model), by_value=True)
    with pytest.raises(RuntimeError, match=r"^the values of x decide shapes, which pack's engines do not support$"):
        bench.engine.build(bench.model, str(bench.plan), DYNAMIC)


def test_an_operator_that_the_parser_lacks_is_named(bench: Bench) -> None:
    save_network(Path(bench.model), unknown_operator="Gelu")
    message = r"^TensorRT [\d.]+ cannot parse Gelu \(node /layer/act\): No importer registered for op$"
    with pytest.raises(RuntimeError, match=message):
        bench.engine.build(bench.model, str(bench.plan), DYNAMIC)


def test_a_file_that_the_parser_cannot_read(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench.trt.OnnxParser, "parse_from_file", lambda self, model: False)
    with pytest.raises(RuntimeError, match=r"^TensorRT [\d.]+ cannot parse model\.onnx: it gives no reason$"):
        bench.engine.build(bench.model, str(bench.plan), DYNAMIC)


def test_what_tensorrt_itself_refuses(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    session = bench.engine.load(bench.model, DYNAMIC, threads=1)
    monkeypatch.setattr(bench.trt.IExecutionContext, "set_input_shape", lambda self, name, shape: False)
    with pytest.raises(RuntimeError, match=r"^TensorRT refuses the shape \[1, 2\] of x: "):
        bench.run(session, 1)
    monkeypatch.setattr(bench.trt.IBuilderConfig, "add_optimization_profile", lambda self, profile: -1)
    with pytest.raises(RuntimeError, match=rf"^TensorRT refuses the optimization profile '{PROFILE}'$"):
        bench.engine.build(bench.model, str(bench.plan), DYNAMIC)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        ("[E] no kernel\nstack", r"^TensorRT [\d.]+ cannot build this graph: \[E\] no kernel$"),
        ("Requested amount of GPU memory (9 bytes) could not be allocated.", r"^out of GPU memory: TensorRT"),
    ],
)
def test_a_failed_build_has_tensorrts_first_error(bench: Bench, error: str, message: str) -> None:
    bench.world.build_error = error
    bench.plan.write_text("an older plan")
    with pytest.raises(RuntimeError, match=message):
        bench.engine.build(bench.model, str(bench.plan), DYNAMIC)
    assert bench.plan.read_text() == "an older plan"


@pytest.mark.parametrize(
    ("name", "value"),
    [("tensorrt", "7.0.0"), ("device", "NVIDIA A10"), ("compute_capability", "8.6"), ("os", "Windows AMD64")],
)
def test_a_plan_from_elsewhere_is_refused(bench: Bench, name: str, value: str) -> None:
    facts = bench.engine.build(bench.model, str(bench.plan), DYNAMIC)
    bench.plan.with_suffix(".json").write_text(json.dumps({**facts, name: value}))
    message = r"^model\.plan was made by TensorRT .*; here is TensorRT .*: build it again here, from its \.onnx$"
    with pytest.raises(RuntimeError, match=message) as raised:
        bench.engine.load(str(bench.plan), DYNAMIC, threads=1)
    assert value in str(raised.value)


@pytest.mark.parametrize("lacking", ["tensorrt", "device", "compute_capability", "os", "options"])
def test_a_stamp_that_lacks_a_fact_is_refused(bench: Bench, lacking: str) -> None:
    facts = bench.engine.build(bench.model, str(bench.plan), DYNAMIC)
    bench.plan.with_suffix(".json").write_text(json.dumps({**facts, "device": "NVIDIA A10", lacking: None}))
    del facts[lacking]
    bench.plan.with_suffix(".json").write_text(json.dumps(facts))
    message = rf"^model\.json does not say {lacking}, so nobody knows where model\.plan loads$"
    with pytest.raises(RuntimeError, match=message):
        bench.engine.load(str(bench.plan), DYNAMIC, threads=1)


def test_a_plan_without_a_stamp_is_refused(bench: Bench) -> None:
    bench.engine.build(bench.model, str(bench.plan), DYNAMIC)
    bench.plan.with_suffix(".json").unlink()
    with pytest.raises(RuntimeError, match=r"^model\.plan has no model\.json beside it, which says where it loads"):
        bench.engine.load(str(bench.plan), DYNAMIC, threads=1)


def test_a_plan_that_was_built_to_travel_may(bench: Bench) -> None:
    options = {**DYNAMIC, "version_compatible": True, "hardware_compatible": "ampere_plus"}
    facts = bench.engine.build(bench.model, str(bench.plan), options)
    changed = {**facts, "tensorrt": "9.0.0", "device": "NVIDIA A10", "compute_capability": "8.6"}
    bench.plan.with_suffix(".json").write_text(json.dumps(changed))
    session = bench.engine.load(str(bench.plan), DYNAMIC, threads=1)
    assert bench.run(session, 1)[0, 0] == 2


def test_a_plan_that_tensorrt_refuses(bench: Bench) -> None:
    bench.engine.build(bench.model, str(bench.plan), DYNAMIC)
    bench.world.load_error = "Version tag does not match"
    message = r"^model\.plan cannot be loaded by TensorRT [\d.]+: Version tag does not match$"
    with pytest.raises(RuntimeError, match=message):
        bench.engine.load(str(bench.plan), DYNAMIC, threads=1)


def test_lack_of_gpu_memory_is_called_that(bench: Bench) -> None:
    session = bench.engine.load(bench.model, DYNAMIC, threads=1)
    bench.world.context_error = "[executionContext] Error Code 2: OutOfMemory (no further information)"
    with pytest.raises(RuntimeError, match=r"^out of GPU memory: TensorRT cannot open profile 0: "):
        bench.run(session, 1)
    bench.world.context_error = ""
    bench.cuda.free_bytes = 4
    with pytest.raises(RuntimeError, match=r"^out of GPU memory \(cuMemAlloc_v2\)$"):
        bench.run(session, 4)


@pytest.mark.parametrize(("graph", "short"), [(True, "free_bytes"), (False, "free_bytes"), (True, "host_bytes")])
def test_calls_after_one_without_memory_are_right(bench: Bench, graph: bool, short: str) -> None:
    session = bench.engine.load(bench.model, {**DYNAMIC, "graph": graph}, threads=1)
    for value in (1.0, 2.0):
        bench.run(session, 1, value)
    free_bytes = bench.cuda.free_bytes
    setattr(bench.cuda, short, 8)
    with pytest.raises(RuntimeError, match=r"^out of GPU memory"):
        bench.run(session, 4)
    setattr(bench.cuda, short, 2**20)
    for value in (3.0, 4.0, 5.0):
        np.testing.assert_array_equal(bench.run(session, 1, value), np.full((1, 2), 2 * value))
    if short == "host_bytes":
        assert bench.cuda.free_bytes == free_bytes, "no half of a buffer is left over"
    assert bench.run(session, 4, 6.0).tolist() == [[12, 12]] * 4


def test_a_call_that_fails_has_tensorrts_error(bench: Bench) -> None:
    session = bench.engine.load(bench.model, DYNAMIC, threads=1)
    bench.world.execute_error = "Cask failure"
    with pytest.raises(RuntimeError, match=r"^TensorRT cannot run the engine: Cask failure$"):
        bench.run(session, 1)


def test_without_a_gpu_it_says_so(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.cuda.status = 100
    with pytest.raises(RuntimeError, match=r"^cuInit failed: CUDA_ERROR_NO_DEVICE$"):
        bench.engine.build(bench.model, str(bench.plan), DYNAMIC)

    def refuse(name: str) -> None:
        raise OSError(f"{name}: no such file")

    monkeypatch.setattr(ctypes, "CDLL", refuse)
    with pytest.raises(RuntimeError, match=r"^no NVIDIA driver: libcuda\.so\.1: no such file$"):
        bench.engine.load(bench.model, DYNAMIC, threads=1)


def test_a_tensorrt_that_cannot_use_the_gpu(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(logger: Any) -> None:
        logger.log(bench.trt.ILogger.WARNING, "CUDA initialization failure with error: 35")
        raise TypeError("pybind11::init(): factory function returned nullptr")

    monkeypatch.setattr(bench.trt, "Builder", fail)
    with pytest.raises(RuntimeError, match=r"cannot use the GPU: CUDA initialization failure with error: 35$"):
        bench.engine.build(bench.model, str(bench.plan), DYNAMIC)


def test_the_command_line(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    options = bench.folder / "options.json"
    options.write_text(json.dumps(DYNAMIC))
    assert bench.engine.main([bench.model, str(bench.plan), str(options)]) == 0
    assert bench.plan.exists()
    bench.world.build_error = "no kernel"
    assert bench.engine.main([bench.model, str(bench.plan), str(options)]) == 1
    assert capsys.readouterr().err.splitlines()[-1].startswith("RuntimeError: TensorRT ")
    assert bench.engine.main([]) == 2


def test_as_a_script_it_is_not_misled_by_a_file_beside_it(tmp_path: Path) -> None:
    beside, elsewhere = tmp_path / "beside", tmp_path / "elsewhere"
    for folder, code in ((beside, "raise AssertionError"), (elsewhere, "__version__ = '10.3.0'")):
        folder.mkdir()
        (folder / "tensorrt.py").write_text(code)
    shutil.copy(ENGINE, beside / "tensorrt_engine.py")
    command = [sys.executable, str(beside / "tensorrt_engine.py")]
    environment = {**os.environ, "PYTHONPATH": str(elsewhere)}
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (2, "usage: tensorrt_engine.py MODEL.onnx PLAN OPTIONS.json\n")


def test_the_engine_imports_only_what_a_device_has() -> None:
    tree = ast.parse(ENGINE.read_text("utf-8"), feature_version=(3, 8))
    imported = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    imported |= {name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names}
    assert {(name or "").split(".")[0] for name in imported} - sys.stdlib_module_names == {"numpy", "tensorrt"}


def test_the_engine_keeps_to_what_python_3_8_has() -> None:
    tree = ast.parse(ENGINE.read_text("utf-8"), feature_version=(3, 8))
    aliases = [ast.unparse(n) for n in tree.body if isinstance(n, ast.Assign) and isinstance(n.value, ast.Subscript)]
    keywords = [ast.unparse(n) for n in ast.walk(tree) if isinstance(n, ast.keyword) and n.arg in ("strict", "slots")]
    names = [ast.unparse(n) for n in ast.walk(tree) if isinstance(n, ast.Attribute) and n.attr.startswith("removep")]
    assert (aliases, keywords, names) == ([], [], [])
