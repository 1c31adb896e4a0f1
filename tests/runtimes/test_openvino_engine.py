from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from graphs import parse_graph, random_weights

pytest.importorskip("openvino")

import onnx_ir as ir

from packc.runtimes import openvino_engine as engine

GRAPH = "agraph (float[batch, 8] x) => (float[batch, 4] y, float[batch, 4] z) { y = MatMul(x, w)\n z = Relu(y) }"


NO_INT8 = ({}, {"exact_int8": True})


@pytest.fixture
def model(tmp_path: Path) -> str:
    import openvino as ov

    ir.save(parse_graph(GRAPH, {"w": random_weights(8, 4)}), tmp_path / "model.onnx")
    ov.save_model(ov.convert_model(str(tmp_path / "model.onnx")), tmp_path / "model.xml", compress_to_fp16=False)
    return str(tmp_path / "model.xml")


def test_the_engine_answers_every_output_by_name(model: str) -> None:
    session = engine.load(model, {"precision": "fp32"}, threads=1)
    first, x = random_weights(3, 8, seed=2), random_weights(2, 8, seed=1)
    earlier = engine.run(session, {"x": first})
    kept = earlier["y"].copy()
    answer = engine.run(session, {"x": x})
    assert set(answer) == {"y", "z"}
    np.testing.assert_allclose(answer["y"], x @ random_weights(8, 4), rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(answer["z"], np.maximum(answer["y"], 0))
    np.testing.assert_array_equal(earlier["y"], kept)


def test_the_model_has_the_threads_and_the_precision(model: str) -> None:
    compiled = engine.load(model, {"precision": "fp32"}, threads=2).get_compiled_model()
    assert compiled.get_property("INFERENCE_NUM_THREADS") == 2
    assert compiled.get_property("INFERENCE_PRECISION_HINT").to_string() == "f32"


def test_a_precision_that_the_cpu_lacks_is_an_error(model: str) -> None:
    """OpenVINO itself takes fp32 where it cannot take bf16, and says nothing."""
    if engine.ov.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES").count("BF16"):
        pytest.skip("this CPU has bf16")
    with pytest.raises(RuntimeError, match="this CPU computes in f32 what is asked for in bf16"):
        engine.load(model, {"precision": "bf16"}, 1)


def test_answers_can_be_asked_for_without_int8_kernels(model: str) -> None:
    x = random_weights(2, 8, seed=1)
    plain, exact = (engine.run(engine.load(model, {"precision": "fp32", **more}, 1), {"x": x}) for more in NO_INT8)
    np.testing.assert_allclose(plain["y"], exact["y"], rtol=1e-5, atol=1e-5)


def test_importing_openvino_reports_nothing() -> None:
    program = "import sys; from packc.runtimes import openvino_engine; print(sys.modules['openvino_telemetry'])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "None"


def test_describe_names_the_version(model: str) -> None:
    import openvino

    found = engine.describe(engine.load(model, {"precision": "fp32"}, 1))["openvino"]
    assert openvino.__version__.startswith(found)


def test_the_engine_imports_nothing_of_packc() -> None:
    tree = ast.parse(Path(engine.__file__).read_text())
    names = {n.module if isinstance(n, ast.ImportFrom) else n.names[0].name
             for n in ast.walk(tree) if isinstance(n, ast.Import | ast.ImportFrom)}  # fmt: skip
    assert names == {"__future__", "collections.abc", "sys", "typing", "openvino"}
