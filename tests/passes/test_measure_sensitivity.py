from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from graphs import parse_graph, random_weights
from packc.cache import Cache
from packc.passes.lower import LoweringError
from packc.passes.measure_sensitivity import CACHE_KIND, measure_sensitivity
from packc.passes.model_file import save_model
from packc.passes.sensitivity import Sensitivity
from packc.samples import save_samples


def run(folder: Path, device: str = "here", text: str = "y = MatMul(x, w)") -> Sensitivity:
    graph = parse_graph(f"agraph (float[batch, 8] x) => (float[batch, 4] y) {{ {text} }}", {"w": random_weights(8, 4)})
    model = folder / "graph" / "model.onnx"
    model.parent.mkdir(exist_ok=True)
    save_model(graph, model)
    save_samples(folder / "samples.npz", [{"x": np.ones((1, 8), np.float32)}])
    return measure_sensitivity(model, "y", folder / "samples.npz", {}, 1, device, Cache(folder / "cache"))


def count_entries(folder: Path) -> int:
    return len(list((folder / "cache" / CACHE_KIND).glob("[!.]*")))


def test_a_measurement_is_kept_for_its_machine(tmp_path: Path) -> None:
    first = run(tmp_path)
    assert [layer.cost_share for layer in first.layers] == [1.0]
    assert run(tmp_path) == first
    assert count_entries(tmp_path) == 1
    run(tmp_path, device="elsewhere")
    assert count_entries(tmp_path) == 2


def test_what_cannot_be_measured_says_why(tmp_path: Path) -> None:
    with pytest.raises(LoweringError, match="the graph has no linear layer"):
        run(tmp_path, text="z = ReduceSum<keepdims = 1>(x)\n c = Concat<axis = 1>(z, z, z, z)\n y = Sqrt(c)")
