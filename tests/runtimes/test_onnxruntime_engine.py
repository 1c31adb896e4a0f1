from __future__ import annotations

import ast
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from graphs import parse_graph, random_weights
from packc.runtimes import onnxruntime_engine as engine

GRAPH = "agraph (float[batch, 8] x) => (float[batch, 4] y, float[batch, 4] z) { y = MatMul(x, w)\n z = Relu(y) }"


@pytest.fixture
def model(tmp_path: Path) -> str:
    path = tmp_path / "model.onnx"
    ir.save(parse_graph(GRAPH, {"w": random_weights(8, 4)}), path)
    return str(path)


@pytest.mark.parametrize("options", [{}, {"spinning": False}])
def test_the_engine_answers_every_output_by_name(model: str, options: dict[str, bool]) -> None:
    session = engine.load(model, options, threads=1)
    x = random_weights(2, 8, seed=1)
    answer = engine.run(session, {"x": x})
    assert list(answer) == ["y", "z"]
    np.testing.assert_allclose(answer["y"], x @ random_weights(8, 4), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(answer["z"], np.maximum(answer["y"], 0))


def test_the_session_has_the_threads_and_the_spinning(model: str) -> None:
    options = engine.load(model, {"spinning": False}, threads=2).get_session_options()
    assert (options.intra_op_num_threads, options.inter_op_num_threads) == (2, 1)
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"


def test_exact_int8_is_what_cpus_with_vnni_compute(tmp_path: Path) -> None:
    """Sums of the largest products, which CPUs without VNNI cut off otherwise."""
    quantized = "agraph (uint8[b, 64] x) => (int32[b, 32] y) { y = MatMulInteger(x, w) }"
    path = tmp_path / "quantized.onnx"
    ir.save(parse_graph(quantized, {"w": np.full((64, 32), 127, np.int8)}), path)
    session = engine.load(str(path), {"exact_int8": True}, 1)
    answer = engine.run(session, {"x": np.full((2, 64), 255, np.uint8)})
    np.testing.assert_array_equal(answer["y"], np.full((2, 32), 64 * 255 * 127))


def test_describe_names_the_version(model: str) -> None:
    import onnxruntime

    assert engine.describe(engine.load(model, {}, 1)) == {"onnxruntime": onnxruntime.__version__}


def test_a_broken_model_is_an_error_with_its_path(tmp_path: Path) -> None:
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"nothing")
    with pytest.raises(Exception, match=r"broken\.onnx"):
        engine.load(str(broken), {}, 1)


def test_the_engine_imports_nothing_of_packc() -> None:
    tree = ast.parse(Path(engine.__file__).read_text())
    names = {n.module if isinstance(n, ast.ImportFrom) else n.names[0].name
             for n in ast.walk(tree) if isinstance(n, ast.Import | ast.ImportFrom)}  # fmt: skip
    assert names == {"__future__", "collections.abc", "typing", "onnxruntime"}
