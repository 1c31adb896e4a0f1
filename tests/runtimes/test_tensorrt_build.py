from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from packc.runtimes.tensorrt_python import ENGINE
from processes import await_end
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


def test_a_timing_cache_that_does_not_fit_is_no_reason(bench: Bench) -> None:
    path = bench.folder / "timing.cache"
    path.write_bytes(DEVICE_MISMATCH.encode())
    bench.world.build_error = "no kernel"
    with pytest.raises(RuntimeError, match=r"cannot build this graph: no kernel$"):
        bench.engine.build(bench.model, str(bench.plan), {**DYNAMIC, "timing_cache": str(path)})


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


def test_a_plan_never_stands_beside_the_stamp_of_another(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.engine.build(bench.model, str(bench.plan), DYNAMIC)
    write_whole = bench.module("build").write_whole  # type: ignore[attr-defined]

    def refuse(path: Path, data: bytes) -> None:
        if path.name == "model.json":
            raise OSError(28, "No space left on device")
        write_whole(path, data)

    monkeypatch.setattr(bench.module("build"), "write_whole", refuse)
    with pytest.raises(OSError, match="No space left"):
        bench.engine.build(bench.model, str(bench.plan), DYNAMIC)
    assert not bench.plan.exists()


@pytest.mark.parametrize(
    ("code", "why"),
    [
        ("sys.stderr.write('[W] slow\\nRuntimeError: TensorRT cannot build it: no kernel\\n'); sys.exit(1)",
         r"^TensorRT cannot build it: no kernel$"),
        ("sys.stderr.write('ModuleNotFoundError: No module named tensorrt'); sys.exit(1)", r"^ModuleNotFoundError: "),
        ("sys.stderr.write('ValueError: 3'); sys.exit(1)", r"^ValueError: 3$"),
        ("sys.exit(1)", r"^the builder ended with status 1$"),
        ("sys.stderr.write('UserWarning: slow'); sys.exit(3)", r"^the builder ended with status 3$"),
        ("sys.stderr.write('UserWarning: slow'); sys.stderr.flush(); os.kill(os.getpid(), signal.SIGKILL)",
         r"^the builder was killed by SIGKILL, likely out of memory$"),
        ("os.kill(os.getpid(), signal.SIGSEGV)", r"^the builder was killed by SIGSEGV$"),
        ("os.kill(os.getpid(), 40)", r"^the builder was killed by signal 40$"),
    ],
)  # fmt: skip
def test_what_another_process_says_is_the_reason(bench: Bench, tmp_path: Path, code: str, why: str) -> None:
    program = tmp_path / "program.py"
    program.write_text(f"import os, signal, sys\n{code}\n")
    with pytest.raises(RuntimeError, match=why):
        bench.module("build").build_apart(str(program), bench.model, str(bench.plan), DYNAMIC)


def test_another_process_is_told_what_to_build(bench: Bench, tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text("import json, pathlib, sys\nmodel, plan, options = map(pathlib.Path, sys.argv[1:])\n"
                       "plan.write_text(json.dumps([model.name, json.loads(options.read_text())]))\n")  # fmt: skip
    bench.module("build").build_apart(str(program), bench.model, str(bench.plan), DYNAMIC)
    assert json.loads(bench.plan.read_text()) == ["model.onnx", DYNAMIC]


def test_another_process_has_this_interpreter(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[list[str]] = []

    def start(command: list[str], **options: Any) -> subprocess.CompletedProcess[bytes]:
        started.append(command)
        return subprocess.CompletedProcess(command, 0, stderr=b"")

    monkeypatch.setattr(subprocess, "run", start)
    bench.module("build").build_apart("engine.py", bench.model, str(bench.plan), DYNAMIC)
    (command,) = started
    assert command[:4] == [sys.executable, "engine.py", bench.model, str(bench.plan)]


@only_8
@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not end what a killed process started")
def test_a_builder_does_not_outlive_the_process_that_started_it(bench: Bench, tmp_path: Path) -> None:
    """The runner is killed alone, as by a user who knows its number: nobody kills its process group."""
    runner, builder, stub = tmp_path / "runner.py", tmp_path / "builder.py", tmp_path / "stub"
    stub.mkdir()
    (stub / "tensorrt.py").write_text("__version__ = '8.6.0'")
    builder.write_text("import os, time\nprint(os.getpid(), flush=True)\ntime.sleep(60)\n")
    runner.write_text("import sys\nfrom tensorrt_build import build_apart\nbuild_apart(sys.argv[1], 'm', 'p', {})\n")
    places = os.pathsep.join([str(stub), str(ENGINE.parent)])
    runs = [sys.executable, str(runner), str(builder)]
    environment = {**os.environ, "PYTHONPATH": places}
    with subprocess.Popen(runs, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        parent.kill()
        assert await_end(pid)
