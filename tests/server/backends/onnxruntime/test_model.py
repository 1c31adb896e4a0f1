"""The backend with stand-ins for Triton's side; e2e/test_server.py runs it in Triton."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import packc.server.install
from backend_stub import Request, import_backend, make_config, rows
from cuda_stub import StubOrt
from gpu_driver import StubDriver
from packc.runtimes import onnxruntime_cuda_engine
from served_packages import WIDTH, make_scaling_graph

MODEL = Path(packc.server.install.__file__).parent / "backends" / "onnxruntime" / "model.py"


@pytest.fixture
def backend(monkeypatch: pytest.MonkeyPatch) -> Any:
    return import_backend(MODEL, monkeypatch)


def load(backend: Any, folder: Path, config: dict[str, Any], **instance: str) -> Any:
    if not (folder / "1").exists():
        make_scaling_graph(folder / "1" / "model.onnx")
    model = backend.TritonPythonModel()
    arguments = {"model_repository": str(folder), "model_version": "1", "model_name": folder.name, **instance}
    model.initialize({**arguments, "model_config": json.dumps(config)})
    return model


def test_requests_of_one_batch_run_as_one_call(backend: Any, tmp_path: Path) -> None:
    model = load(backend, tmp_path, make_config())
    calls = []
    call = model._call
    model._call = lambda names, feed: calls.append(len(feed["x"])) or call(names, feed)
    responses = model.execute([Request(x=rows(1)), Request(x=rows(2, 3)), Request(x=rows(4))])
    assert calls == [4]
    assert [response.outputs["y"][:, 0].tolist() for response in responses] == [[2], [4, 6], [8]]


def test_a_request_that_fails_fails_alone(backend: Any, tmp_path: Path) -> None:
    model = load(backend, tmp_path, make_config())
    bad = Request(x=np.zeros((1, WIDTH + 1), np.float32))
    worse = Request(x=np.zeros((1, WIDTH), np.float64))
    good, first, second = model.execute([Request(x=rows(1)), bad, worse])
    assert good.outputs["y"][0, 0] == 2 or good.error is None
    assert first.error is not None
    assert second.error is not None


def test_only_what_is_asked_for_is_answered(backend: Any, tmp_path: Path) -> None:
    model = load(backend, tmp_path, make_config())
    (response,) = model.execute([Request((), x=rows(1))])
    assert response.outputs == {}


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
            "unexpected input 'z': the graph has 'x'",
        ),
        ({"input": [{"name": "x", "data_type": "TYPE_INT8", "dims": [WIDTH]}]}, "'x' is TYPE_INT8, .* TYPE_FP32"),
        ({"input": [{"name": "x", "data_type": "TYPE_FP32", "dims": [3]}]}, r"'x' has shape \[-1, 3\]"),
        ({"output": [{"name": "y", "data_type": "TYPE_FP32", "dims": [WIDTH, 1]}]}, r"'y' has shape \[-1, 4, 1\]"),
        ({"input": []}, r"lacks the graph's input\(s\) x"),
        ({"default_model_filename": "other.onnx"}, r"no model file at .*other\.onnx"),
    ],
)
def test_a_config_that_differs_from_the_graph_is_refused(
    backend: Any, tmp_path: Path, changes: dict[str, Any], reason: str
) -> None:
    with pytest.raises(RuntimeError, match=reason):
        load(backend, tmp_path, make_config(**changes))


ON_GPU = {"model_instance_kind": "GPU", "model_instance_device_id": "1"}


@pytest.fixture
def cuda(backend: Any, monkeypatch: pytest.MonkeyPatch) -> StubOrt:
    """The engine that lies beside the backend once it is installed, on a GPU that doubles its input."""
    stub = StubOrt()
    monkeypatch.setattr(onnxruntime_cuda_engine, "ort", stub)
    monkeypatch.setitem(sys.modules, "cuda_engine", onnxruntime_cuda_engine)
    return stub


def test_gpu_instances_are_served_by_the_engine_of_jobs(backend: Any, cuda: StubOrt, tmp_path: Path) -> None:
    model = load(backend, tmp_path, make_config(parameters={"pack_cuda_graph": {"string_value": "1"}}), **ON_GPU)
    assert cuda.asked == {"device_id": "1", "use_tf32": "1", "enable_cuda_graph": "1", "prefer_nhwc": "0"}
    for value in (1, 2, 3):
        responses = model.execute([Request(x=rows(value)), Request(x=rows(4, 5))])
        assert [response.outputs["y"][:, 0].tolist() for response in responses] == [[2 * value], [8, 10]]
    assert cuda.runs == ["-1", "1", "1", "1"], "the second call of a shape records, and then replays"


def test_a_gpu_model_has_the_options_that_its_accelerator_says(backend: Any, cuda: StubOrt, tmp_path: Path) -> None:
    accelerator = {"name": "cuda", "parameters": {"use_tf32": "0", "prefer_nhwc": "1"}}
    optimization = {"execution_accelerators": {"gpu_execution_accelerator": [accelerator]}}
    load(backend, tmp_path, make_config(optimization=optimization), **ON_GPU)
    assert cuda.asked == {"device_id": "1", "use_tf32": "0", "enable_cuda_graph": "0", "prefer_nhwc": "1"}
    accelerator["name"] = "rocm"
    with pytest.raises(RuntimeError, match="no accelerator 'rocm' for GPUs, only cuda and tensorrt"):
        load(backend, tmp_path, make_config(optimization=optimization), **ON_GPU)


def test_a_gpu_model_may_go_through_tensorrt(backend: Any, cuda: StubOrt, tmp_path: Path) -> None:
    cuda.providers = ("TensorrtExecutionProvider", *cuda.providers)
    shapes = {"trt_profile_min_shapes": "x:1x2", "trt_profile_opt_shapes": "x:1x2", "trt_profile_max_shapes": "x:8x2"}
    accelerators = [{"name": "tensorrt", "parameters": shapes}, {"name": "cuda"}]
    optimization = {"execution_accelerators": {"gpu_execution_accelerator": accelerators}}
    load(backend, tmp_path, make_config(optimization=optimization), **ON_GPU)
    assert cuda.asked == {"device_id": "1", "trt_cuda_graph_enable": "0", **shapes}


def test_the_gpus_capability_chooses_among_several_files(
    backend: Any, cuda: StubOrt, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_scaling_graph(tmp_path / "1" / "model.onnx")
    make_scaling_graph(tmp_path / "1" / "model.l4.onnx")
    monkeypatch.setattr(backend.ctypes, "CDLL", lambda name: StubDriver())
    config = {"cc_model_filenames": {"9.0": "model.l4.onnx"}, "default_model_filename": "model.onnx"}
    assert backend._choose_file(config, ON_GPU) == "model.l4.onnx"
    assert backend._choose_file({**config, "cc_model_filenames": {"8.9": "model.l4.onnx"}}, ON_GPU) == "model.onnx"
    assert backend._choose_file(config, {"model_instance_kind": "CPU"}) == "model.onnx", "as the native backend does"
    assert backend._choose_file({}, ON_GPU) == "model.onnx"
    monkeypatch.setattr(backend.ctypes, "CDLL", lambda name: StubDriver(status=100))
    with pytest.raises(RuntimeError, match="the CUDA driver does not know GPU 1"):
        backend._choose_file(config, ON_GPU)


def test_the_native_backends_parameters_are_read(backend: Any) -> None:
    values = {
        "intra_op_thread_count": "3",
        "inter_op_thread_count": "2",
        "execution_mode": "1",
        "enable_mem_arena": "0",
    }
    parameters = {name: {"string_value": value} for name, value in values.items()}
    parameters["session.intra_op.allow_spinning"] = {"string_value": "0"}
    options = backend._session_options({"parameters": parameters, "optimization": {"graph": {"level": -1}}})
    assert (options.intra_op_num_threads, options.inter_op_num_threads) == (3, 2)
    assert options.execution_mode == backend.ort.ExecutionMode.ORT_PARALLEL
    assert not options.enable_cpu_mem_arena
    assert options.graph_optimization_level == backend.ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"
    default = backend._session_options({})
    assert default.graph_optimization_level == backend.ort.GraphOptimizationLevel.ORT_ENABLE_ALL


def test_strings_go_in_and_out(backend: Any) -> None:
    decoded = backend._decode_strings(np.array([["grün".encode()], [b"b"]], dtype=object))
    assert decoded.tolist() == [["grün"], ["b"]]
    assert backend._triton_array(np.array(["a"])).dtype == object
