from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from graphs import parse_graph, random_weights, run_model
from packc.passes import model_file
from packc.passes.model_file import load_model, replace_model, save_model

GRAPH = "agraph (float[batch, 64] x) => (float[batch, 64] y) { y = MatMul(x, w) }"
WEIGHTS = {"w": random_weights(64, 64)}


def test_few_weights_stay_in_one_file(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    assert save_model(parse_graph(GRAPH, WEIGHTS), path) is False
    assert [file.name for file in tmp_path.iterdir()] == ["model.onnx"]
    np.testing.assert_array_equal(load_model(path).graph.initializers["w"].const_value.numpy(), WEIGHTS["w"])  # type: ignore[union-attr]


def test_many_weights_lie_beside_the_graph(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_file, "EXTERNAL_DATA_BYTES", 1000)
    path = tmp_path / "model.onnx"
    assert save_model(parse_graph(GRAPH, WEIGHTS), path) is True
    assert sorted(file.name for file in tmp_path.iterdir()) == ["model.onnx", "model.onnx.data"]
    moved = tmp_path / "elsewhere" / "model.onnx"
    moved.parent.mkdir()
    monkeypatch.setattr(model_file, "EXTERNAL_DATA_BYTES", 10**9)
    assert save_model(load_model(path), moved) is False
    x = random_weights(2, 64, seed=1)
    np.testing.assert_allclose(run_model(load_model(moved), x=x)[0], x @ WEIGHTS["w"], rtol=1e-4, atol=1e-4)


def test_nodes_without_a_name_get_one_each(tmp_path: Path) -> None:
    proto = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["" : 18]> agraph (float[4] x) => (float[4] y) { a = Sqrt(x)\n y = Abs(a) }'
    )
    onnx.save(proto, tmp_path / "model.onnx")
    names = [node.name for node in load_model(tmp_path / "model.onnx").graph]
    assert all(names)
    assert len(set(names)) == 2


def test_replace_model_reads_all_into_memory(tmp_path: Path) -> None:
    other = parse_graph(GRAPH, {"w": np.zeros((64, 64), np.float32)}, opset=20)
    onnx.save(
        onnx.ModelProto.FromString(_serialize(other)),
        tmp_path / "new.onnx",
        save_as_external_data=True,
        size_threshold=0,
    )
    model = parse_graph(GRAPH, WEIGHTS)
    replace_model(model, tmp_path / "new.onnx")
    for file in tmp_path.iterdir():
        file.unlink()
    assert model.opset_imports[""] == 20
    assert not run_model(model, x=random_weights(2, 64))[0].any()


def _serialize(model: object) -> bytes:
    import onnx_ir as ir

    assert isinstance(model, ir.Model)
    proto = ir.to_proto(model)
    assert numpy_helper.to_array(proto.graph.initializer[0]).shape == (64, 64)
    return proto.SerializeToString()
