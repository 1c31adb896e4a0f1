"""The engine in a job bundle on a real GPU: for whoever has one, and an interpreter with TensorRT.

PACK_TENSORRT_PYTHON names it where it is not this one.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from graphs import parse_graph, random_weights, run_model
from packc.jobs.bundle import write_bundle
from packc.jobs.job import Job, JobResult
from packc.jobs.local import run_bundle
from packc.runtimes.tensorrt import TensorRt
from packc.samples import load_samples, save_samples

pytestmark = pytest.mark.gpu

MIXER = """
agraph (float[batch, length, 8] x, int64[batch, length] ids) => (float[batch, length, 8] y)
<float[8, 8] w, float[16, 8] table> {
   rows = Gather<axis = 0>(table, ids)
   h = Add(x, rows)
   p = MatMul(h, w)
   t = Transpose<perm = [0, 2, 1]>(p)
   s = MatMul(p, t)
   a = Softmax<axis = -1>(s)
   y = MatMul(a, h)
}
"""
PROFILE = "x=1x1x8/1x16x8/4x32x8 ids=1x1/1x16/4x32"
ONE, MANY, ODD = (1, 16), (4, 32), (2, 7)
SHAPES = [*[ONE] * 3, MANY, *[ONE] * 4, *[ODD] * 4, *[ONE] * 2, *[MANY] * 4, *[ONE, ODD] * 3, *[ONE] * 4]
"""In an order that has graphs recorded, memory moved, and shapes with a graph come again after others."""


@pytest.fixture
def python() -> Path:
    named = os.environ.get("PACK_TENSORRT_PYTHON")
    if not named and importlib.util.find_spec("tensorrt") is None:
        pytest.skip("needs an interpreter with tensorrt: set PACK_TENSORRT_PYTHON")
    return Path(named or sys.executable)


def run_mixer(folder: Path, python: Path, **options: Any) -> tuple[JobResult, list[Any], list[Any]]:
    """The result of a bundle that builds the engine and answers samples of SHAPES; its answers, and the CPU's."""
    import onnx_ir as ir

    # fewer tactics, so that a TensorRT without cuBLAS and cuDNN can build it, too
    options = {"profiles": (PROFILE,), "tactics": ("EDGE_MASK_CONVOLUTIONS", "JIT_CONVOLUTIONS"), **options}
    model = parse_graph(MIXER, {"w": random_weights(8, 8), "table": random_weights(16, 8, seed=1)}, opset=17)
    rng = np.random.default_rng(0)
    samples = [
        {"x": rng.standard_normal((*shape, 8)).astype(np.float32), "ids": rng.integers(0, 16, shape)}
        for shape in SHAPES
    ]
    ir.save(model, folder / "model.onnx")
    save_samples(folder / "samples.npz", samples)
    job = Job("mixer", "tensorrt", "model/model.onnx", options, 1, (), (), (), True)
    write_bundle(folder / "job", job, [folder / "model.onnx"], folder / "samples.npz", None, TensorRt().engine_files)
    result = run_bundle(folder / "job", timeout_s=600, python=python)
    answers = [answer["y"] for answer in load_samples(result.answers)] if result.answers else []
    return result, answers, [run_model(model, **sample)[0] for sample in samples]


@pytest.mark.parametrize("is_graph", [False, True])
@pytest.mark.parametrize(("precision", "tolerance"), [("fp32", 1e-4), ("tf32", 2e-2)])
def test_it_answers_as_the_cpu_does(
    tmp_path: Path, python: Path, precision: str, tolerance: float, is_graph: bool
) -> None:
    result, answers, expected = run_mixer(tmp_path, python, precision=precision, graph=is_graph)
    assert result.failure is None
    for answer, wanted in zip(answers, expected, strict=True):
        np.testing.assert_allclose(answer, wanted, atol=tolerance)
    assert dict(result.versions)["tensorrt"]
    assert result.device_memory_mib is not None
    assert {"model.plan", "model.json", "model.layers.json"} <= {f.name for f in (tmp_path / "job/model").iterdir()}


def test_a_shape_beyond_the_profile_is_the_failure_of_the_job(tmp_path: Path, python: Path) -> None:
    result, *_ = run_mixer(tmp_path, python, profiles=("x=1x1x8/1x16x8/1x16x8 ids=1x1/1x16/1x16",))
    assert result.failure is not None
    assert "has shape [4, 32" in result.failure
