"""The backend with stand-ins for Triton's side and for the engine; tests/runtimes has the engine's own tests."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import packc.server.install
from backend_stub import Request, import_backend, make_config, rows
from served_packages import WIDTH

MODEL = Path(packc.server.install.__file__).parent / "backends" / "tensorrt" / "model.py"


class StubEngine:
    """Doubles x, in rows of WIDTH."""

    def __init__(self) -> None:
        self.loaded: list[tuple[str, dict[str, Any]]] = []
        self.calls = 0

    def Device(self, ordinal: int) -> Any:  # noqa: N802 - as the engine has it
        return SimpleNamespace(compute_capability=lambda: (9, 0))

    def load(self, model: str, options: dict[str, Any], threads: int) -> Any:
        self.loaded.append((model, options))
        tensor = SimpleNamespace(dtype=np.dtype(np.float32))
        return SimpleNamespace(inputs={"x": tensor}, outputs={"y": tensor})

    def run(self, session: Any, inputs: dict[str, Any]) -> dict[str, Any]:
        self.calls += 1
        if inputs["x"].shape[1] != WIDTH:
            raise RuntimeError(f"x has shape {list(inputs['x'].shape)}, and the engine's profiles take others")
        return {"y": 2 * inputs["x"]}


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> StubEngine:
    """What lies beside the backend once it is installed."""
    stub = StubEngine()
    monkeypatch.setitem(sys.modules, "tensorrt_engine", stub)  # type: ignore[arg-type]
    return stub


@pytest.fixture
def backend(monkeypatch: pytest.MonkeyPatch, engine: StubEngine) -> Any:
    return import_backend(MODEL, monkeypatch)


def load(backend: Any, folder: Path, config: dict[str, Any], **arguments: str) -> Any:
    (folder / "1").mkdir(exist_ok=True)
    (folder / "1" / "model.plan").write_bytes(b"engine")
    model = backend.TritonPythonModel()
    given = {"model_repository": str(folder), "model_version": "1", "model_name": folder.name}
    on_gpu = {"model_instance_kind": "GPU", "model_instance_device_id": "1"}
    model.initialize({**given, **on_gpu, **arguments, "model_config": json.dumps(config)})
    return model


def test_requests_of_one_batch_share_a_call_and_part_again(backend: Any, engine: StubEngine, tmp_path: Path) -> None:
    model = load(backend, tmp_path, make_config())
    responses = model.execute([Request(x=rows(1)), Request(x=rows(2, 3)), Request(x=rows(4))])
    assert [response.outputs["y"][:, 0].tolist() for response in responses] == [[2], [4, 6], [8]]
    assert engine.calls == 1


def test_a_request_that_no_profile_takes_fails_alone(backend: Any, tmp_path: Path) -> None:
    model = load(backend, tmp_path, make_config())
    good, bad = model.execute([Request(x=rows(1)), Request(x=np.zeros((1, WIDTH + 1), np.float32))])
    assert good.outputs["y"][0, 0] == 2
    assert "the engine's profiles" in str(bad.error)


def test_without_batching_each_request_is_a_call(backend: Any, engine: StubEngine, tmp_path: Path) -> None:
    shape = {"dims": [-1, WIDTH], "data_type": "TYPE_FP32"}
    config = make_config(max_batch_size=0, input=[{"name": "x", **shape}], output=[{"name": "y", **shape}])
    responses = load(backend, tmp_path, config).execute([Request(x=rows(1, 2)), Request(x=rows(3))])
    assert [response.outputs["y"][:, 0].tolist() for response in responses] == [[2, 4], [6]]
    assert engine.calls == 2


def test_the_engine_is_told_the_gpu_and_whether_to_record(backend: Any, engine: StubEngine, tmp_path: Path) -> None:
    load(backend, tmp_path, make_config())
    load(backend, tmp_path, make_config(parameters={"pack_cuda_graph": {"string_value": "1"}}))
    assert [options for _, options in engine.loaded] == [
        {"device": 1, "graph": False},
        {"device": 1, "graph": True},
    ]
    assert engine.loaded[0][0] == str(tmp_path / "1" / "model.plan")


def test_a_gpu_loads_the_plan_of_its_compute_capability(backend: Any, engine: StubEngine, tmp_path: Path) -> None:
    (tmp_path / "1").mkdir()
    (tmp_path / "1" / "model.h200.plan").write_bytes(b"engine")
    load(backend, tmp_path, make_config(cc_model_filenames={"9.0": "model.h200.plan"}))
    load(backend, tmp_path, make_config(cc_model_filenames={"8.0": "model.a100.plan"}))
    assert [Path(model).name for model, _ in engine.loaded] == ["model.h200.plan", "model.plan"]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        (
            {"input": [{"name": "z", "data_type": "TYPE_FP32", "dims": [WIDTH]}]},
            "unexpected input 'z': the engine has 'x'",
        ),
        ({"input": [{"name": "x", "data_type": "TYPE_INT64", "dims": [WIDTH]}]}, "'x' is TYPE_INT64, .* TYPE_FP32"),
        ({"input": []}, r"lacks the engine's input\(s\) x"),
        ({"default_model_filename": "other.plan"}, r"no model file at .*other\.plan"),
    ],
)
def test_a_config_that_differs_from_the_engine_is_refused(
    backend: Any, tmp_path: Path, changes: dict[str, Any], reason: str
) -> None:
    with pytest.raises(RuntimeError, match=reason):
        load(backend, tmp_path, make_config(**changes))


def test_it_supports_gpus_only(backend: Any, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="supports GPUs only"):
        load(backend, tmp_path, make_config(), model_instance_kind="CPU")
