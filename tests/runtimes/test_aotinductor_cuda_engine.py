from __future__ import annotations

import ast
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

from packc.runtimes.aotinductor_cuda import AotInductorCuda
from torch_cuda_engine import engine
from torch_cuda_package import write_package
from torch_cuda_stub import StubTorch


@pytest.fixture
def model(tmp_path: Path) -> str:
    return write_package(tmp_path / "model.pt2")


@pytest.fixture
def stub(monkeypatch: pytest.MonkeyPatch) -> StubTorch:
    stub = StubTorch()
    for name in (engine.__name__, "aotinductor_cuda_facts"):
        monkeypatch.setattr(sys.modules[name], "torch", stub)
    return stub


def make_input(rows: int, value: float = 1.0) -> dict[str, np.ndarray]:
    return {"x": np.full((rows, 3), value, np.float32)}


def call(session: engine.Session, rows: int, value: float = 1.0) -> np.ndarray:
    answer: np.ndarray = engine.run(session, make_input(rows, value))["y"]
    return answer


def test_calls_without_graph_run_kernel_by_kernel(stub: StubTorch, model: str) -> None:
    session = engine.load(model, {}, 1)
    for value in (1.0, 2.0, 3.0):
        np.testing.assert_array_equal(call(session, 2, value), np.full((2, 3), 2 * value))
    assert stub.loader.calls == ["run"] * 3


def test_the_second_call_of_a_shape_records_and_later_ones_replay(stub: StubTorch, model: str) -> None:
    session = engine.load(model, {"graph": True}, 1)
    for value in (1.0, 2.0, 3.0):
        np.testing.assert_array_equal(call(session, 2, value), np.full((2, 3), 2 * value))
    call(session, 1)
    call(session, 1)
    recorded = ["clear", "record", "clear"]  # cuBLAS takes a workspace of the graph's own memory, and leaves it there
    assert stub.loader.calls == ["run", *recorded, "run", *recorded]
    assert [bound.graph.replays for bound in session.bound.values()] == [2, 1]


def test_shapes_beyond_the_limit_run_without_a_graph(
    stub: StubTorch, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "MOST_GRAPHS", 1)
    session = engine.load(model, {"graph": True}, 1)
    for rows in (1, 1, 2, 2):
        assert call(session, rows).shape == (rows, 3)
    assert [call for call in stub.loader.calls if call != "clear"] == ["run", "record", "run", "run"]


def test_buffers_of_many_shapes_are_given_up_again(
    stub: StubTorch, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "MOST_SHAPES", 2)
    session = engine.load(model, {"graph": True}, 1)
    for rows in (1, 1, 2, 3, 4, 5):
        call(session, rows)
    assert [bound.places[0].shape[0] for bound in session.bound.values()] == [1, 4, 5]


def test_large_buffers_of_many_shapes_are_given_up_sooner(
    stub: StubTorch, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "MOST_LOOSE_BYTES", 12 * 8)  # inputs of 8 rows
    session = engine.load(model, {"graph": True}, 1)
    kept = []
    for rows in (1, 1, 3, 4, 5, 9, 2):
        call(session, rows)
        kept.append([bound.inputs[0].shape[0] for bound in session.bound.values()])
    assert kept == [[1], [1], [1, 3], [1, 3, 4], [1, 5], [1, 9], [1, 2]]


def test_answers_are_not_overwritten_by_the_next_call(stub: StubTorch, model: str) -> None:
    session = engine.load(model, {"graph": True}, 1)
    first, *_ = [call(session, 1, value) for value in (1.0, 2.0, 3.0)]
    np.testing.assert_array_equal(first, np.full((1, 3), 2.0))


def test_inputs_go_over_in_one_buffer_by_name(stub: StubTorch) -> None:
    arrays = [np.arange(3, dtype=np.int64), np.asfortranarray(np.ones((2, 5), np.float32)), np.array([True])]
    bound = engine.bind_inputs(arrays)
    for place, array in zip(bound.places, arrays, strict=True):
        np.copyto(place, array)
    bound.device.copy_(bound.host)
    assert bound.host.numel() == 3 * engine.ALIGNMENT
    for tensor, array in zip(bound.inputs, arrays, strict=True):
        np.testing.assert_array_equal(tensor.numpy(), array)
        assert tensor.data_ptr() % 8 == 0


@pytest.mark.parametrize("graph", [False, True])
def test_large_arrays_are_copied_by_the_driver(stub: StubTorch, model: str, graph: bool) -> None:
    session = engine.load(model, {"graph": graph}, 1)
    rows = engine.LARGE_BYTES // 12 + 1
    answers = [call(session, rows, value) for value in (1.0, 2.0, 3.0)]
    for value, answer in enumerate(answers, 1):
        np.testing.assert_array_equal(answer, np.full((rows, 3), 2.0 * value))
    (bound,) = session.bound.values()
    assert (bound.places, bound.answers, bound.host.numel()) == ([None], [None], 0)


def test_answers_that_take_long_to_copy_are_handed_over_as_they_came(stub: StubTorch, model: str) -> None:
    session = engine.load(model, {}, 1)
    for rows, is_copy in ((1, True), (engine.HANDED_BYTES // 12 + 1, False)):
        answer = call(session, rows)
        assert answer.flags.owndata == is_copy
        call(session, rows, 7.0)
        np.testing.assert_array_equal(answer, np.full((rows, 3), 2.0))


def test_arrays_may_lie_in_any_order_and_be_read_only(stub: StubTorch, model: str) -> None:
    session = engine.load(model, {}, 1)
    for rows in (2, engine.LARGE_BYTES // 12 + 1):
        turned = np.asfortranarray(np.arange(3.0 * rows, dtype=np.float32).reshape(rows, 3))
        turned.flags.writeable = False
        np.testing.assert_array_equal(engine.run(session, {"x": turned})["y"], 2 * turned)


def test_what_cannot_be_recorded_fails_once_by_name_and_runs_kernel_by_kernel_then(stub: StubTorch, model: str) -> None:
    session = engine.load(model, {"graph": True}, 1)
    call(session, 1)
    stub.loader.failure = RuntimeError("\noperation not permitted when stream is capturing\nmore")
    with pytest.raises(RuntimeError, match=r"^capture failed: operation not permitted when stream is capturing$"):
        call(session, 1)
    stub.loader.failure = None
    np.testing.assert_array_equal(call(session, 1, 4.0), np.full((1, 3), 8.0))
    for value in (5.0, 6.0):
        np.testing.assert_array_equal(call(session, 2, value), np.full((2, 3), 2 * value))
    assert stub.loader.calls == ["run", "clear", "record", "clear", "run", "run", "run"], (
        "nor is another shape recorded"
    )


def test_a_shape_whose_first_call_failed_is_new_to_the_next(stub: StubTorch, model: str) -> None:
    session = engine.load(model, {"graph": True}, 1)
    stub.loader.failure = RuntimeError("index out of range in self")
    for _ in range(2):
        with pytest.raises(RuntimeError, match=r"^index out of range in self$"):
            call(session, 1)
    stub.loader.failure = None
    call(session, 1)
    call(session, 1)
    assert stub.loader.calls == ["run", "run", "run", "clear", "record", "clear"]


def test_a_lack_of_memory_is_one_line_however_it_is_told(stub: StubTorch, model: str) -> None:
    session = engine.load(model, {}, 1)
    line = r"^out of memory: NVIDIA H200 has 20480 MiB, of which 9216 are free$"
    stub.loader.failure = RuntimeError("CUDA out of memory. Tried to allocate\nmore")
    with pytest.raises(RuntimeError, match=line):
        call(session, 1)
    stub.loader.failure, stub.loader.refused = RuntimeError("API call failed at model.h, line 99"), 1
    with pytest.raises(RuntimeError, match=line):
        call(session, 1)
    stub.loader.refused = 0  # what was refused before is no reason now
    with pytest.raises(RuntimeError, match=r"^API call failed"):
        call(session, 1)


@pytest.mark.parametrize("graph", [False, True])
def test_a_warm_call_does_not_count_memory(stub: StubTorch, model: str, graph: bool) -> None:
    session = engine.load(model, {"graph": graph}, 1)
    call(session, 1)
    counted = stub.counted
    call(session, 1)
    call(session, 1)
    assert stub.counted == counted


def test_a_lack_that_may_be_of_an_earlier_call_does_not_hide_the_error(stub: StubTorch, model: str) -> None:
    session = engine.load(model, {}, 1)
    call(session, 1)
    stub.loader.refused = 1
    call(session, 1)  # goes well all the same
    stub.loader.failure, stub.loader.refused = RuntimeError("API call failed at model.h, line 99"), 0
    with pytest.raises(RuntimeError, match=r"^API call failed at model.h, line 99; memory was refused in this call or"):
        call(session, 1)


def test_memory_that_a_library_did_without_is_no_reason_later(stub: StubTorch, model: str) -> None:
    session = engine.load(model, {}, 1)
    stub.loader.refused = 1
    call(session, 1)
    stub.loader.failure, stub.loader.refused = RuntimeError("API call failed at model.h, line 99"), 0
    with pytest.raises(RuntimeError, match=r"^API call failed"):
        call(session, 1)


def test_tf32_is_said_to_the_libraries(stub: StubTorch, model: str) -> None:
    engine.load(model, {"tf32": True}, 1)
    assert (stub.precision, stub.backends.cudnn.allow_tf32) == ("high", True)
    engine.load(model, {}, 1)
    assert (stub.precision, stub.backends.cudnn.allow_tf32) == ("highest", False)
    assert stub.backends.cudnn.benchmark is True
    assert stub.loaded == [model, "model", True, 1, 0]


def test_it_tells_the_device_and_its_memory(stub: StubTorch, model: str) -> None:
    session = engine.load(model, {}, 1)
    facts = engine.describe(session)
    facts.pop("driver", None)
    assert facts == {"torch": "2.11.0", "cuda": "13.0", "device": "NVIDIA H200"}
    assert engine.device_memory_mib(session) == 1024
    stub.free_bytes = 19 * 2**30
    assert engine.device_memory_mib(session) == 0


def test_the_engine_imports_only_what_a_device_has() -> None:
    tree = ast.parse(Path(engine.__file__).read_text("utf-8"))
    imported = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    imported |= {name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names}
    wanted = {"numpy", "torch", "aotinductor_cuda_facts"}
    assert {(name or "").split(".")[0] for name in imported} - sys.stdlib_module_names == wanted


def test_the_files_of_a_bundle_are_all_that_it_needs(tmp_path: Path) -> None:
    for name, file in AotInductorCuda().engine_files.items():
        shutil.copyfile(file, tmp_path / name)
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import engine; print(engine.ALIGNMENT)"
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout.strip(), done.stderr) == ("256", "")
