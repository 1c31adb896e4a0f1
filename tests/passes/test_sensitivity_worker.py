from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from pydantic import TypeAdapter

from graphs import Array, parse_graph, random_weights
from packc.child import FAILURE_FILE
from packc.passes import sensitivity_worker
from packc.passes.graph_pass import PassError
from packc.passes.measure_sensitivity import SensitivityRequest
from packc.passes.model_file import save_model
from packc.passes.sensitivity import Sensitivity
from packc.passes.sensitivity_worker import LEAST_SAMPLES, MOST_SAMPLES, compare_answers, main, measure
from packc.samples import save_samples

TEXT = """agraph (float[batch, 8] x) => (float[batch, 4] y, float[batch, 16] wide) {
   wide = Gemm<transB = 1>(x, up)
   b = Relu(wide)
   narrow = MatMul(b, down)
   first = Slice(narrow, from, to)
   y = MatMul(first, head)
}"""


SAFE = {"reduce_range": True}
"""Sums that no CPU cuts off."""


def make_request(folder: Path, samples: int = 3) -> SensitivityRequest:
    weights = {
        "up": random_weights(16, 8), "down": random_weights(16, 8, seed=1), "head": random_weights(8, 4, seed=2),
        "from": np.array([0]), "to": np.array([1]),
    }  # fmt: skip
    save_model(parse_graph(TEXT, weights), folder / "model.onnx")
    calibration = folder / "calibration.npz"
    save_samples(calibration, [{"x": random_weights(4, 8, seed=seed)} for seed in range(samples)])
    return SensitivityRequest(folder / "model.onnx", "y", calibration, SAFE, 1, folder / "result.json")


def test_each_layer_has_its_error_and_its_share_of_the_work(tmp_path: Path) -> None:
    found = measure(make_request(tmp_path))
    assert found.samples == 3
    assert all(0 < layer.error < 0.1 for layer in found.layers)
    work = np.array([4 * 8 * 16, 4 * 16 * 8, 1 * 8 * 4])
    assert [layer.cost_share for layer in found.layers] == pytest.approx(list(work / work.sum()))
    assert [layer.kind for layer in found.layers] == ["ffn up", "ffn down", "other"]


def test_without_samples_there_is_nothing_to_measure(tmp_path: Path) -> None:
    with pytest.raises(PassError, match="no calibration samples"):
        measure(make_request(tmp_path, samples=0))


def test_a_sample_counts_once_and_slow_models_get_few(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int | None] = []

    def answer(sample: dict[str, Array], int8: int | None) -> tuple[np.ndarray, np.ndarray]:
        asked.append(int8)
        return np.array([3.0, 4.0 + (int8 == 1)], np.float32), np.array([2, 2])

    many: list[dict[str, Array]] = [{}] * 50
    squares, rows, count = compare_answers(answer, many, 2)
    assert count == MOST_SAMPLES
    assert squares == pytest.approx([0, 0.04])
    assert list(rows) == [2 * MOST_SAMPLES] * 2
    assert asked[:3] == [None, 0, 1]
    monkeypatch.setattr(sensitivity_worker, "ENOUGH_S", 0.0)
    assert compare_answers(answer, many, 2)[2] == LEAST_SAMPLES


def test_answers_that_are_not_finite_are_no_measure() -> None:
    with pytest.raises(PassError, match="not finite"):
        compare_answers(lambda *_: (np.array([np.nan], np.float32), np.array([1])), [{}], 1)


def test_the_child_leaves_its_result_or_its_reason(tmp_path: Path) -> None:
    request = make_request(tmp_path)
    file = tmp_path / "request.json"
    file.write_bytes(TypeAdapter(SensitivityRequest).dump_json(request))
    assert main(file) == 0
    assert len(TypeAdapter(Sensitivity).validate_json(request.result.read_bytes()).layers) == 3
    file.write_text(json.dumps({**json.loads(file.read_text()), "calibration": str(tmp_path / "gone.npz")}))
    assert main(file) == 1
    assert "gone.npz" in (tmp_path / FAILURE_FILE).read_text()
