"""A package on a GPU through the real server: for whoever has one, with onnxruntime-gpu or tensorrt installed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from gpu_packages import write_gpu_repository
from models import make_tiny_onnx
from packc.candidate import PassStep
from packc.cli.main import run
from packc.gpu import find_gpu
from packc.jobs.gpu_state import open_gpu
from packc.package.combine import Part, combine_repository
from packc.package.lint import lint_repository
from packc.package.manifest_file import read_manifest
from packc.package.model_config import add_batching, add_instances, add_tensor, new_config
from packc.package.pipelines.triton_model import TritonModel, write_models
from packc.runtimes.compile import CompileRequest
from packc.runtimes.onnxruntime_cuda import OnnxRuntimeCuda
from packc.runtimes.tensorrt import TensorRt
from packc.runtimes.tensorrt_compile import compile_model
from packc.server.client import connect
from packc.server.environment import Server
from packc.server.process import start_server
from packc.target_profiles import find_host_gpu
from served_packages import WIDTH, X, Y, make_scaling_graph

SPEC = """
[model]
name = "tiny"
source = "tiny.onnx"

[workload]
batch = { typical = 1, max = 8 }
concurrency = 8

[quality]
metric = "cosine"
min = 0.99

[optimize]
goal = "throughput"
runtimes = ["onnxruntime-cuda"]

[targets.gpu]
profile = "host-gpu"
"""

pytestmark = [pytest.mark.e2e, pytest.mark.gpu]


def check_doubling(triton: Server, repository: Path) -> None:
    """The model in the repository is right, and a server that loaded it doubles what it gets."""
    assert lint_repository(repository) == []
    with start_server(triton, repository, ready_timeout_s=600) as server, connect(server.http_url) as client:
        for value in range(1, 5):
            x = np.full((2, WIDTH), value, np.float32)
            np.testing.assert_array_equal(client.infer("tiny", {"x": x})["y"], 2 * x)


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
    check_doubling(triton_server, tmp_path / "repository")


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
    check_doubling(triton_server, tmp_path / "repository")


def test_a_repository_for_several_gpus_serves_the_artifact_of_this_one(triton_server: Server, tmp_path: Path) -> None:
    if not OnnxRuntimeCuda().versions():
        pytest.skip("needs onnxruntime-gpu")
    gpu = find_gpu()
    assert gpu is not None
    repository = write_gpu_repository(tmp_path / "base", 2.0)
    parts = [
        Part("this", gpu.compute_capability, write_gpu_repository(tmp_path / "this", 3.0)),
        Part("twin", gpu.compute_capability, write_gpu_repository(tmp_path / "twin", 5.0, instances=2)),
    ]
    combine_repository(repository, "5.0", parts)
    x = np.ones((1, WIDTH), np.float32)
    for name, scale in ((None, 3.0), ("twin", 5.0)):
        with (
            start_server(triton_server, repository, ready_timeout_s=600, config_name=name) as server,
            connect(server.http_url) as client,
        ):
            np.testing.assert_array_equal(client.infer("tiny", {"x": x})["y"], scale * x)


def test_a_build_measures_the_gpu_and_searches_how_it_serves(
    triton_server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not OnnxRuntimeCuda().versions():
        pytest.skip("needs onnxruntime-gpu")
    monkeypatch.chdir(tmp_path)
    make_tiny_onnx(tmp_path / "tiny.onnx")
    (tmp_path / "spec.toml").write_text(SPEC)
    assert run(["build", "spec.toml"]) == 0
    manifest = read_manifest(tmp_path / "build" / "tiny" / "gpu")
    assert manifest.state == "verified"
    timed = [m for record in manifest.candidates if (m := record.measurements) and m.p50_ms is not None]
    assert timed
    if open_gpu(0) is not None:
        assert all(len(m.gpu_states) == 3 for m in timed), "one a round"
    assert manifest.serving is not None
    rule = manifest.serving.tried[0]
    assert (rule.instances, rule.failure) == (1, None)
    assert all(plan.failure is None for plan in manifest.serving.tried)
    target = find_host_gpu()
    if target is not None and target.profile is not None:
        assert manifest.limits is not None
        assert manifest.limits.source.startswith("of the profile nvidia-")
