"""The backend with stand-ins for Triton's side; e2e/test_openvino.py runs it in Triton."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("openvino")

import packc.server.install
from backend_stub import Request, import_backend, make_config, rows
from served_packages import WIDTH, make_scaling_graph

MODEL = Path(packc.server.install.__file__).parent / "backends" / "openvino" / "model.py"


@pytest.fixture
def backend(monkeypatch: pytest.MonkeyPatch) -> Any:
    return import_backend(MODEL, monkeypatch)


def load(backend: Any, folder: Path, config: dict[str, Any]) -> Any:
    import openvino as ov

    if not (folder / "1").exists():
        make_scaling_graph(folder / "graph.onnx")
        ov.save_model(ov.convert_model(str(folder / "graph.onnx")), folder / "1" / "model.xml")
    model = backend.TritonPythonModel()
    arguments = {"model_repository": str(folder), "model_version": "1", "model_name": folder.name}
    model.initialize({**arguments, "model_config": json.dumps(config)})
    return model


def test_requests_of_one_batch_share_a_call_and_part_again(backend: Any, tmp_path: Path) -> None:
    model = load(backend, tmp_path, make_config())
    responses = model.execute([Request(x=rows(1)), Request(x=rows(2, 3)), Request(x=rows(4))])
    assert [response.outputs["y"][:, 0].tolist() for response in responses] == [[2], [4, 6], [8]]


def test_a_request_that_fails_fails_alone(backend: Any, tmp_path: Path) -> None:
    model = load(backend, tmp_path, make_config())
    good, bad = model.execute([Request(x=rows(1)), Request(x=np.zeros((1, WIDTH + 1), np.float32))])
    assert good.outputs["y"][0, 0] == 2
    assert bad.error is not None


def test_a_model_without_batching_takes_whole_shapes(backend: Any, tmp_path: Path) -> None:
    shape = {"dims": [-1, WIDTH], "data_type": "TYPE_FP32"}
    config = make_config(max_batch_size=0, input=[{"name": "x", **shape}], output=[{"name": "y", **shape}])
    responses = load(backend, tmp_path, config).execute([Request(x=rows(1, 2)), Request(x=rows(3))])
    assert [response.outputs["y"][:, 0].tolist() for response in responses] == [[2, 4], [6]]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        (
            {"input": [{"name": "z", "data_type": "TYPE_FP32", "dims": [WIDTH]}]},
            "unexpected input 'z': the model has 'x'",
        ),
        ({"input": [{"name": "x", "data_type": "TYPE_INT8", "dims": [WIDTH]}]}, "'x' is TYPE_INT8, .* TYPE_FP32"),
        ({"input": [{"name": "x", "data_type": "TYPE_FP32", "dims": [3]}]}, r"'x' has shape \[-1, 3\]"),
        ({"input": []}, r"lacks the model's input\(s\) x"),
        ({"instance_group": [{"kind": "KIND_GPU"}]}, "supports CPUs only"),
        ({"default_model_filename": "other.xml"}, r"no model file at .*other\.xml"),
    ],
)
def test_a_config_that_differs_from_the_model_is_refused(
    backend: Any, tmp_path: Path, changes: dict[str, Any], reason: str
) -> None:
    with pytest.raises(RuntimeError, match=reason):
        load(backend, tmp_path, make_config(**changes))


def test_the_native_backends_parameters_are_read(backend: Any) -> None:
    values = {"INFERENCE_NUM_THREADS": "3", "NUM_STREAMS": "1", "HINT_BF16": "YES", "OTHER": "x"}
    parameters = {name: {"string_value": value} for name, value in values.items()}
    assert backend._read_properties({"parameters": parameters}) == {
        "INFERENCE_NUM_THREADS": "3",
        "NUM_STREAMS": "1",
        "INFERENCE_PRECISION_HINT": "bf16",
        "ENABLE_CPU_PINNING": False,
    }


def test_a_precision_that_the_cpu_lacks_is_refused(
    backend: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """OpenVINO itself takes another one without a word."""

    class Compiled:
        def get_property(self, name: str) -> Any:
            return type("Hint", (), {"to_string": lambda self: "f32"})()

    class Core:
        def compile_model(self, *arguments: Any) -> Compiled:
            return Compiled()

    load(backend, tmp_path, make_config())
    monkeypatch.setattr(backend.ov, "Core", Core)
    config = make_config(parameters={"INFERENCE_PRECISION_HINT": {"string_value": "bf16"}})
    with pytest.raises(RuntimeError, match="computes in f32 what the model asks for in bf16"):
        load(backend, tmp_path, config)
