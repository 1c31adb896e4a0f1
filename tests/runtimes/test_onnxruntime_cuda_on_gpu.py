"""The CUDA engine and what its recipes make, on a real GPU: for whoever has one, with onnxruntime-gpu installed."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from graphs import ATTENTION, apply_pass, make_attention, make_context, random_weights, run_model
from packc.passes.cast_fp16 import CastFp16
from packc.passes.fuse_attention import FuseAttention
from packc.passes.merge_attention import MergeAttention
from packc.runtimes import onnxruntime_cuda_engine as engine

pytestmark = pytest.mark.gpu

MASK = np.array([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]])


@pytest.fixture(autouse=True)
def runtime() -> None:
    try:
        importlib.metadata.version("onnxruntime-gpu")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("needs onnxruntime-gpu")


def save_attention(
    folder: Path, *passes: Any, mask: str = "lengths", text: str = ATTENTION
) -> tuple[Path, dict[str, np.ndarray], np.ndarray]:
    """A small attention after `passes`, inputs with padding, and what the graph answers before them on the CPU."""
    import onnx_ir as ir

    model = make_attention(text)
    inputs = {"x": random_weights(2, 5, 8), "mask": MASK}
    expected = run_model(model, **inputs)[0]
    for graph_pass in passes:
        options = {"mask": mask} if graph_pass.name == "merge_attention" else {}
        apply_pass(graph_pass, model, make_context(folder, **options))
    ir.save(model, folder / "model.onnx")
    return folder / "model.onnx", inputs, expected


@pytest.mark.parametrize("mask", ["lengths", "bias"])
def test_merged_attention_answers_as_the_graph_did(tmp_path: Path, mask: str) -> None:
    path, inputs, expected = save_attention(tmp_path, FuseAttention(), MergeAttention(), mask=mask)
    session = engine.load(str(path), {}, 1)
    answer = engine.run(session, inputs)["y"]
    np.testing.assert_allclose(answer[MASK == 1], expected[MASK == 1], atol=1e-4)


def test_starts_answer_as_the_graph_did_in_fp16(tmp_path: Path) -> None:
    one_head = ATTENTION.replace("{0, 0, 2, 4}", "{0, 0, 1, 8}")
    path, inputs, expected = save_attention(
        tmp_path, FuseAttention(), MergeAttention(), CastFp16(), mask="starts", text=one_head
    )
    answer = engine.run(engine.load(str(path), {}, 1), inputs)["y"]
    np.testing.assert_allclose(answer[MASK == 1], expected[MASK == 1], atol=1e-2)


@pytest.mark.parametrize("passes", [(), (CastFp16(),)])
def test_a_recorded_graph_answers_new_inputs(tmp_path: Path, passes: tuple[Any, ...]) -> None:
    path, inputs, expected = save_attention(tmp_path, FuseAttention(), MergeAttention(), *passes)
    session = engine.load(str(path), {"graph": True}, 1)
    other = {**inputs, "x": 2 * inputs["x"]}
    tolerance = 1e-2 if passes else 1e-4
    for _ in range(3):  # kernel by kernel, recorded, replayed
        np.testing.assert_allclose(engine.run(session, inputs)["y"][0], expected[0], atol=tolerance)
        assert np.abs(engine.run(session, other)["y"][0] - expected[0]).max() > tolerance
    assert session.graphs == 1


def test_a_session_tells_its_gpu_and_what_it_takes(tmp_path: Path) -> None:
    path, inputs, _ = save_attention(tmp_path)
    session = engine.load(str(path), {}, 1)
    engine.run(session, inputs)
    assert engine.describe(session)["device"] != "an NVIDIA GPU"
    memory_mib = engine.device_memory_mib(session)
    assert memory_mib is not None
    assert 0 <= memory_mib < 4096
