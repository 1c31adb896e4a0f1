from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from models import make_tiny_onnx
from packc.cache import Cache
from packc.errors import PackError
from packc.measure import work
from packc.measure.work import Work, count_work
from packc.samples import save_samples
from packc.tensors import ShapeCase

CASES = (ShapeCase("typical", 1, None), ShapeCase("max", 16, None))


def test_each_case_has_its_work_and_is_counted_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    graph, latency = make_tiny_onnx(tmp_path / "export" / "model.onnx"), tmp_path / "latency.npz"
    save_samples(latency, [{"features": np.zeros((case.batch, 8), np.float32)} for case in CASES])
    cache = Cache(tmp_path / "cache")
    typical, largest = count_work(graph, CASES, latency, cache)
    assert typical == Work(2.0 * 8 * 4, 32.0)
    assert largest == Work(16 * typical.flops, typical.weights)
    monkeypatch.setattr(work, "ask_child", None)
    assert count_work(graph, CASES, latency, cache) == (typical, largest)


def test_a_graph_that_cannot_be_counted_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_text("no graph")
    save_samples(tmp_path / "latency.npz", [{"features": np.zeros((1, 8), np.float32)}])
    with pytest.raises(PackError, match="counting the model's work ended with status 1: "):
        count_work(tmp_path / "model.onnx", CASES[:1], tmp_path / "latency.npz", Cache(tmp_path / "cache"))
