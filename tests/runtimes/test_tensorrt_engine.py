from __future__ import annotations

import ast
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from packc.runtimes.tensorrt import TensorRt
from packc.runtimes.tensorrt_python import ENGINE, ENGINE_FILES
from tensorrt_bench import DYNAMIC, Bench, from_10
from tensorrt_stub import save_network

SINGLE = ["to device", "execute", "to host"]


def test_a_graph_is_built_loaded_and_run(bench: Bench) -> None:
    session = bench.engine.load(bench.model, DYNAMIC, threads=1)
    for rows, value in ((1, 1.0), (4, 2.0), (1, 3.0), (3, 4.0)):
        np.testing.assert_array_equal(bench.run(session, rows, value), np.full((rows, 2), 2 * value))
    assert bench.cuda.done == ["to device", "execute", "to host"] * 4


def test_a_graph_is_built_by_another_process(bench: Bench) -> None:
    bench.engine.load(bench.model, DYNAMIC, threads=1)
    assert bench.built_apart == [(str(ENGINE), bench.model, str(bench.plan), DYNAMIC)]
    assert len(bench.world.configs) == 1, "and by no other"


def test_a_plan_is_loaded_as_it_is(bench: Bench) -> None:
    bench.engine.build(bench.model, str(bench.plan), DYNAMIC)
    built = len(bench.world.configs)
    session = bench.engine.load(str(bench.plan), DYNAMIC, threads=1)
    assert bench.run(session, 2).shape == (2, 2)
    assert (len(bench.world.configs), bench.built_apart) == (built, [])


def test_what_a_session_tells(bench: Bench) -> None:
    bench.engine.build(bench.model, str(bench.plan), DYNAMIC)
    session = bench.engine.load(str(bench.plan), DYNAMIC, threads=1)
    facts = bench.engine.describe(session)
    assert (facts["device"], facts["cuda"], facts["tensorrt"][:2]) == ("NVIDIA H200", "13.0", facts["tensorrt"][:2])
    bench.run(session, 4)
    assert bench.engine.device_memory_mib(session) == 2 * 4 * 2 * 4 / 2**20


def test_scalars_are_inputs_too(bench: Bench) -> None:
    save_network(Path(bench.model), inputs={"x": ("float32", [])}, outputs={"y": ("float32", [])})
    session = bench.engine.load(bench.model, {}, threads=1)
    assert bench.engine.run(session, {"x": np.float32(4)})["y"] == 8


def test_a_shape_that_comes_again_is_recorded_and_replayed_until_another_comes(bench: Bench) -> None:
    session = bench.engine.load(bench.model, {**DYNAMIC, "graph": True}, threads=1)
    for value in (1.0, 2.0, 3.0, 4.0):
        np.testing.assert_array_equal(bench.run(session, 3, value), np.full((3, 2), 2 * value))
    assert bench.cuda.done == [*SINGLE, *SINGLE, "launch", "launch"]
    for rows, value in ((2, 5.0), (3, 6.0), (1, 7.0), (3, 8.0), (3, 9.0)):
        np.testing.assert_array_equal(bench.run(session, rows, value), np.full((rows, 2), 2 * value))
    assert bench.cuda.done[8:] == SINGLE * 5
    assert bench.run(session, 3, 6.0)[0, 0] == 12
    assert bench.cuda.done[-1] == "launch", "recorded anew"


def test_answers_are_not_overwritten_by_the_next_call(bench: Bench) -> None:
    session = bench.engine.load(bench.model, {**DYNAMIC, "graph": True}, threads=1)
    answers = [bench.run(session, 1, value) for value in (1.0, 2.0, 3.0, 4.0)]
    assert [answer[0, 0] for answer in answers] == [2, 4, 6, 8]


def test_what_cannot_be_recorded_is_the_failure_of_the_candidate(bench: Bench) -> None:
    session = bench.engine.load(bench.model, {**DYNAMIC, "graph": True}, threads=1)
    for _ in range(2):
        bench.run(session, 1)
    bench.cuda.breaks_captures = True
    with pytest.raises(RuntimeError, match=r"^capture failed: .*CUDA_ERROR_STREAM_CAPTURE_INVALIDATED$"):
        bench.run(session, 1)
    assert bench.cuda.captured is None
    bench.cuda.done.clear()
    for rows, value in ((1, 3.0), (1, 4.0), (1, 5.0), (4, 6.0), (4, 7.0), (4, 8.0)):
        assert bench.run(session, rows, value)[0, 0] == 2 * value
    assert bench.cuda.done == SINGLE * 6, "and a server goes on without graphs"


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
    bench.world.execute_error = "no kernel image"
    with pytest.raises(RuntimeError, match=r"^TensorRT cannot run the engine: no kernel image$"):
        bench.run(session, 1)


@pytest.mark.parametrize("graph", [False, True])
def test_a_shape_whose_first_call_failed_is_new_to_the_next(bench: Bench, graph: bool) -> None:
    session = bench.engine.load(bench.model, {**DYNAMIC, "graph": graph}, threads=1)
    bench.world.execute_error = "Cask failure"
    for _ in range(3):
        with pytest.raises(RuntimeError, match=r"^TensorRT cannot run the engine: Cask failure$"):
            bench.run(session, 1)
        assert not bench.cuda.pending
    bench.world.execute_error = ""
    bench.cuda.done.clear()
    for value in (1.0, 2.0, 3.0):
        assert bench.run(session, 1, value)[0, 0] == 2 * value
    assert bench.cuda.done == [*SINGLE, *SINGLE, *(["launch"] if graph else SINGLE)]


def test_after_a_failure_calls_begin_from_the_start(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    session = bench.engine.load(bench.model, {**DYNAMIC, "graph": True}, threads=1)
    for _ in range(2):
        bench.run(session, 1)
    with monkeypatch.context() as patch:
        patch.setattr(bench.engine, "capture", fail)
        with pytest.raises(OSError, match="no room"):
            bench.run(session, 1)
    bench.cuda.done.clear()
    for value in (4.0, 5.0, 6.0):
        assert bench.run(session, 1, value)[0, 0] == 2 * value
    assert bench.cuda.done == [*SINGLE, *SINGLE, "launch"]


def test_a_request_that_is_refused_costs_no_graph(bench: Bench) -> None:
    session = bench.engine.load(bench.model, {**DYNAMIC, "graph": True}, threads=1)
    bench.run(session, 4)
    for _ in range(3):
        bench.run(session, 1)
    with pytest.raises(RuntimeError, match=r"^x "):
        bench.engine.run(session, {"x": np.full((3, 2), "a")})
    assert bench.run(session, 1, 4.0)[0, 0] == 8
    assert bench.cuda.done[-1] == "launch"


def test_after_a_recording_failed_the_graphs_that_exist_stay(bench: Bench) -> None:
    own = {"precision": "fp32", "profiles": ["x=1x2/1x2/1x2", "x=4x2/4x2/4x2"], "graph": True}
    session = bench.engine.load(bench.model, own, threads=1)
    bench.run(session, 4)
    for rows in (1, 1, 1, 4):
        bench.run(session, rows)
    bench.cuda.breaks_captures = True
    with pytest.raises(RuntimeError, match=r"^capture failed"):
        bench.run(session, 4)
    bench.cuda.done.clear()
    for rows in (1, 4):
        bench.run(session, rows)
    assert bench.cuda.done == ["launch", *SINGLE]


def fail(*_: object) -> None:
    raise OSError("no room")


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
    for file in (ENGINE, *ENGINE_FILES):
        shutil.copy(file, beside)
    command = [sys.executable, str(beside / "tensorrt_engine.py")]
    environment = {**os.environ, "PYTHONPATH": str(elsewhere)}
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (2, "usage: tensorrt_engine.py MODEL.onnx PLAN OPTIONS.json\n")


def test_a_bundle_has_all_that_it_imports(tmp_path: Path) -> None:
    bundle, elsewhere = tmp_path / "bundle", tmp_path / "elsewhere"
    for folder in (bundle, elsewhere):
        folder.mkdir()
    (elsewhere / "tensorrt.py").write_text("__version__ = '8.6.0'")
    for name, file in TensorRt().engine_files.items():
        shutil.copy(file, bundle / name)
    command = [sys.executable, "-c", "import engine; print(engine.find_version())"]
    environment = {**os.environ, "PYTHONPATH": str(elsewhere)}
    ended = subprocess.run(command, cwd=bundle, env=environment, capture_output=True, text=True, check=True)
    assert ended.stdout == "8.6.0\n"


@pytest.mark.parametrize("file", [ENGINE, *ENGINE_FILES], ids=lambda file: file.stem)
def test_the_engine_imports_only_what_a_device_has(file: Path) -> None:
    tree = ast.parse(file.read_text("utf-8"), feature_version=(3, 8))
    imported = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    imported |= {name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names}
    assert {(name or "").split(".")[0] for name in imported} - sys.stdlib_module_names <= {
        "numpy", "tensorrt", *(file.stem for file in ENGINE_FILES),
    }  # fmt: skip


@pytest.mark.parametrize("file", [ENGINE, *ENGINE_FILES], ids=lambda file: file.stem)
def test_the_engine_keeps_to_what_python_3_8_has(file: Path) -> None:
    tree = ast.parse(file.read_text("utf-8"), feature_version=(3, 8))
    aliases = [ast.unparse(n) for n in tree.body if isinstance(n, ast.Assign) and isinstance(n.value, ast.Subscript)]
    calls = [n for n in ast.walk(tree) if isinstance(n, ast.Call) and ast.unparse(n.func) in ("zip", "dataclass")]
    keywords = [k.arg for call in calls for k in call.keywords if k.arg in ("strict", "slots")]
    names = [ast.unparse(n) for n in ast.walk(tree) if isinstance(n, ast.Attribute) and n.attr.startswith("removep")]
    assert (aliases, keywords, names) == ([], [], [])
