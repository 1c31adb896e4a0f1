from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tensorrt_bench import DYNAMIC, PROFILE, Bench, from_10, only_8
from tensorrt_stub import DEVICE_MISMATCH, save_network


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


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ('{"Layers": [{"Name": "conv\x01\n"}]}', {"Layers": [{"Name": "conv\x01\n"}]}),
        (
            '{"Layers": [',
            {"Unread": '{"Layers": [', "Problem": "Expecting value in '{\"Layers\": ['"},
        ),
    ],
)
def test_what_the_inspector_says_is_kept_as_json(bench: Bench, said: str, kept: dict[str, Any]) -> None:
    bench.world.inspected = said
    bench.engine.build(bench.model, str(bench.plan), DYNAMIC)
    assert json.loads((bench.folder / "model.layers.json").read_text()) == kept


def test_the_network_is_strongly_typed_where_it_can_be_and_has_explicit_batches(bench: Bench) -> None:
    bench.engine.build(bench.model, str(bench.plan), DYNAMIC)
    assert bench.world.creation_flags == [{8: 0b01, 10: 0b11, 11: 0b01}[bench.world.dialect]]


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


def test_an_engine_outlives_a_timing_cache_that_cannot_be_written(bench: Bench) -> None:
    options = {**DYNAMIC, "timing_cache": str(bench.folder / "gone" / "timing.cache")}
    facts = bench.engine.build(bench.model, str(bench.plan), options)
    assert json.loads(bench.plan.with_suffix(".json").read_text()) == facts
    session = bench.engine.load(str(bench.plan), DYNAMIC, threads=1)
    assert bench.run(session, 1)[0, 0] == 2


def test_opt_ins_are_flags_or_errors(bench: Bench) -> None:
    options = {**DYNAMIC, "version_compatible": True, "hardware_compatible": "ampere_plus"}
    bench.engine.build(bench.model, str(bench.plan), options)
    assert bench.flags() == {"VERSION_COMPATIBLE"}
    assert bench.config.hardware_compatibility_level.name == "AMPERE_PLUS"


@only_8
def test_a_level_of_compatibility_that_tensorrt_lacks(bench: Bench) -> None:
    with pytest.raises(RuntimeError, match=r"has no HardwareCompatibilityLevel\.SAME_COMPUTE_CAPABILITY"):
        bench.engine.build(bench.model, str(bench.plan), {**DYNAMIC, "hardware_compatible": "same_compute_capability"})


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


def test_a_tensorrt_that_cannot_use_the_gpu(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(logger: Any) -> None:
        logger.log(bench.trt.ILogger.WARNING, "CUDA initialization failure with error: 35")
        raise TypeError("pybind11::init(): factory function returned nullptr")

    monkeypatch.setattr(bench.trt, "Builder", fail)
    with pytest.raises(RuntimeError, match=r"cannot use the GPU: CUDA initialization failure with error: 35$"):
        bench.engine.build(bench.model, str(bench.plan), DYNAMIC)


@pytest.mark.parametrize(
    ("code", "why"),
    [
        ("sys.stderr.write('[W] slow\\nRuntimeError: TensorRT cannot build it: no kernel\\n'); sys.exit(1)",
         r"^TensorRT cannot build it: no kernel$"),
        ("sys.stderr.write('ModuleNotFoundError: No module named tensorrt'); sys.exit(1)", r"^ModuleNotFoundError: "),
        ("sys.exit(3)", r"^the builder ended with status 3$"),
    ],
)  # fmt: skip
def test_what_another_process_says_is_the_reason(bench: Bench, tmp_path: Path, code: str, why: str) -> None:
    program = tmp_path / "program.py"
    program.write_text(f"import sys\n{code}\n")
    with pytest.raises(RuntimeError, match=why):
        bench.module("build").build_apart(str(program), bench.model, str(bench.plan), DYNAMIC)


def test_another_process_is_told_what_to_build(bench: Bench, tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text("import pathlib, sys\nmodel, plan, options = map(pathlib.Path, sys.argv[1:])\n"
                       "plan.write_text(f'{model.name}: {options.read_text()}')\n")  # fmt: skip
    bench.module("build").build_apart(str(program), bench.model, str(bench.plan), DYNAMIC)
    name, _, options = bench.plan.read_text().partition(": ")
    assert (name, json.loads(options)) == ("model.onnx", DYNAMIC)
