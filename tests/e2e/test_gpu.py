"""A package on a GPU through the real server: for whoever has one, with onnxruntime-gpu or tensorrt installed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from packc.candidate import PassStep
from packc.package.lint import lint_repository
from packc.package.model_config import add_batching, add_instances, add_tensor, new_config
from packc.package.pipelines.triton_model import TritonModel, write_models
from packc.runtimes.compile import CompileRequest
from packc.runtimes.onnxruntime_cuda import OnnxRuntimeCuda
from packc.runtimes.tensorrt import TensorRt
from packc.runtimes.tensorrt_compile import compile_model
from packc.server.client import connect
from packc.server.environment import Server
from packc.server.process import start_server
from served_packages import WIDTH, X, Y, make_scaling_graph

pytestmark = [pytest.mark.e2e, pytest.mark.gpu]


@pytest.mark.parametrize("graph", [False, True])
def test_the_server_computes_on_the_gpu(triton_server: Server, tmp_path: Path, graph: bool) -> None:
    runtime = OnnxRuntimeCuda()
    if not runtime.versions():
        pytest.skip("needs onnxruntime-gpu")
    config = new_config("tiny", 8)
    add_tensor(config, "input", X)
    add_tensor(config, "output", Y)
    add_batching(config, 0)
    add_instances(config, 1, runtime.device)
    runtime.configure_triton(config, {"graph": graph}, 1)
    onnx = make_scaling_graph(tmp_path / "model.onnx")
    write_models((TritonModel(config, {"1/model.onnx": onnx}),), tmp_path / "repository")
    assert lint_repository(tmp_path / "repository") == []
    with (
        start_server(triton_server, tmp_path / "repository", ready_timeout_s=600) as server,
        connect(server.http_url) as client,
    ):
        for value in range(1, 5):
            x = np.full((2, WIDTH), value, np.float32)
            np.testing.assert_array_equal(client.infer("tiny", {"x": x})["y"], 2 * x)


def test_an_engine_of_this_gpu_is_served(triton_server: Server, tmp_path: Path) -> None:
    runtime = TensorRt()
    if not runtime.versions() or runtime.python:
        pytest.skip("needs tensorrt in this Python: pip brings the server the same")
    profiles = (f"x=1x{WIDTH}/2x{WIDTH}/8x{WIDTH}",)
    step = PassStep("tensorrt", {"precision": "fp32", "profiles": profiles})
    onnx, out = make_scaling_graph(tmp_path / "model.onnx"), tmp_path / "engine"
    out.mkdir()
    compile_model(CompileRequest("", onnx, step, None, None, out, cache=tmp_path / "cache"))
    config = new_config("tiny", 8)
    add_tensor(config, "input", X)
    add_tensor(config, "output", Y)
    add_batching(config, 0)
    add_instances(config, 1, runtime.device)
    runtime.configure_triton(config, {"graph": True, "profiles": profiles}, 1)
    files = {f"1/{name}": out / name for name in ("model.plan", "model.json")}
    write_models((TritonModel(config, files),), tmp_path / "repository")
    assert lint_repository(tmp_path / "repository") == []
    with (
        start_server(triton_server, tmp_path / "repository", ready_timeout_s=600) as server,
        connect(server.http_url) as client,
    ):
        for value in range(1, 5):
            x = np.full((2, WIDTH), value, np.float32)
            np.testing.assert_array_equal(client.infer("tiny", {"x": x})["y"], 2 * x)
