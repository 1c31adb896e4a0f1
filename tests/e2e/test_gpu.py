"""A package on a GPU through the real server: for whoever has one, with onnxruntime-gpu installed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from packc.package.lint import lint_repository
from packc.package.model_config import add_batching, add_instances, add_tensor, new_config
from packc.package.pipelines.triton_model import TritonModel, write_models
from packc.runtimes.onnxruntime_cuda import OnnxRuntimeCuda
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
