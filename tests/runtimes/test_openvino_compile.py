from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from graphs import make_context, parse_graph, random_weights
from packc.candidate import OptionValue, PassStep
from packc.errors import PackError
from packc.ingest.source import Geometry
from packc.passes.model_file import save_model
from packc.runtimes.compile import CompileRequest

pytest.importorskip("openvino")
pytest.importorskip("nncf")

from packc.passes.linear_layers import find_linear_layers
from packc.runtimes import openvino_compile
from packc.runtimes import openvino_engine as engine
from packc.runtimes.openvino_compile import BATCH, compile_model, find_ffn_down, find_layers, join_samples

GRAPH = """agraph (float[batch, 64] x) => (float[batch, 64] y) {
    up = MatMul(x, w1)
    wide = Relu(up)
    y = MatMul(wide, w2)
}"""
MATRICES = {"w1": random_weights(64, 128, seed=1), "w2": random_weights(128, 64, seed=2)}
LAYERS = [str(layer.node.name) for layer in find_linear_layers(parse_graph(GRAPH, MATRICES))]
GEOMETRY = Geometry(layers=1, heads=1, hidden=64, ffn=128)
X = random_weights(16, 64, seed=5)


@pytest.fixture
def weights() -> dict[str, np.ndarray]:
    return MATRICES


def build(folder: Path, weights: dict[str, np.ndarray], **options: OptionValue) -> Path:
    save_model(parse_graph(GRAPH, weights), folder / "model.onnx")
    calibration = make_context(folder, samples=[{"x": row[None]} for row in X]).calibration
    out = folder / "out"
    out.mkdir()
    step = PassStep("openvino", {"precision": "fp32", **options})
    compile_model(CompileRequest("", folder / "model.onnx", step, GEOMETRY, calibration, out))
    return out / "model.xml"


def answer(model: Path) -> np.ndarray:
    return engine.run(engine.load(str(model), {"precision": "fp32"}, 1), {"x": X})["y"]


def expected(weights: dict[str, np.ndarray]) -> np.ndarray:
    return np.maximum(X @ weights["w1"], 0) @ weights["w2"]


def list_types(model: Path) -> list[str]:
    import openvino as ov

    return [node.get_type_name() for node in ov.Core().read_model(str(model)).get_ops()]


def test_without_quantization_the_answers_stay(tmp_path: Path, weights: dict[str, np.ndarray]) -> None:
    model = build(tmp_path, weights)
    np.testing.assert_allclose(answer(model), expected(weights), rtol=1e-4, atol=1e-4)
    assert "FakeQuantize" not in list_types(model)


@pytest.mark.parametrize("exclude", [{}, {"exclude": "ffn_down"}, {"exclude": (LAYERS[1],)}])
def test_full_quantization_keeps_out_what_is_excluded(
    tmp_path: Path, weights: dict[str, np.ndarray], exclude: dict[str, OptionValue]
) -> None:
    model = build(tmp_path, weights, quantize="full", overflow_fix=True, **exclude)
    error = np.linalg.norm(answer(model) - expected(weights)) / np.linalg.norm(expected(weights))
    assert 0 < error < 0.1
    assert list_types(model).count("FakeQuantize") == (1 if exclude else 2)


def test_layers_are_found_by_the_names_of_their_onnx_nodes(tmp_path: Path) -> None:
    import openvino as ov

    text = GRAPH.replace("MatMul(x, w1)", "Gemm(x, w1, b)")
    graph = parse_graph(text, {**MATRICES, "b": random_weights(128, seed=3)})
    save_model(graph, tmp_path / "model.onnx")
    model = ov.convert_model(str(tmp_path / "model.onnx"))
    types = {op.get_friendly_name(): op.get_type_name() for op in model.get_ops()}
    names = [str(graph.graph[index].name) for index in (0, 2)]
    assert [types[name] for name in find_layers(model, names, tmp_path / "model.onnx")] == ["MatMul", "MatMul"]
    for wrong in ("gone", str(graph.graph[1].name)):
        with pytest.raises(PackError, match=f"the graph has no linear layer {wrong}"):
            find_layers(model, [wrong], tmp_path / "model.onnx")


def test_weights_alone_are_a_quarter_of_the_size(tmp_path: Path, weights: dict[str, np.ndarray]) -> None:
    model = build(tmp_path, weights, quantize="weights")
    assert model.with_suffix(".bin").stat().st_size < 0.4 * sum(array.nbytes for array in weights.values())
    np.testing.assert_allclose(answer(model), expected(weights), atol=0.05 * np.abs(expected(weights)).max())


def test_samples_of_equal_shapes_share_a_call() -> None:
    samples = [{"x": random_weights(1, length)} for length in (3, 4, 3)] + [{"x": X[:1]}] * (BATCH + 1)
    joined = list(join_samples(samples))
    assert [batch["x"].shape for batch in joined] == [(2, 3), (1, 4), (BATCH, 64), (1, 64)]
    np.testing.assert_array_equal(joined[0]["x"], np.concatenate([samples[0]["x"], samples[2]["x"]]))


def test_quantization_without_samples_is_an_error(tmp_path: Path, weights: dict[str, np.ndarray]) -> None:
    save_model(parse_graph(GRAPH, weights), tmp_path / "model.onnx")
    step = PassStep("openvino", {"precision": "fp32", "quantize": "full"})
    empty = make_context(tmp_path).calibration
    with pytest.raises(PackError, match="there are no calibration samples"):
        compile_model(CompileRequest("", tmp_path / "model.onnx", step, None, empty, tmp_path))


def test_attention_is_looked_at_in_the_precision_that_it_will_run_in(
    tmp_path: Path, weights: dict[str, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    monkeypatch.setattr(openvino_compile, "_check_attention", lambda path, geometry, precision: asked.append(precision))
    build(tmp_path, weights, precision="bf16")
    assert asked == ["bf16"]
    assert openvino_compile.HINTS == engine.HINTS


@pytest.mark.parametrize("scale", ["", "halved = Div(plain, two)"])
def test_attention_in_separate_operators_is_remarked(tmp_path: Path, scale: str) -> None:
    """A lone Softmax is what is left where an attention was not fused."""
    graph = (
        "agraph (float[batch, 8] x) => (float[batch, 8] y) <float two = {2.0}> { plain = Relu(x)\n"
        f"{scale}\n y = {'Softmax<axis = -1>(halved)' if scale else 'Relu(plain)'} }}"
    )
    save_model(parse_graph(graph), tmp_path / "model.onnx")
    step = PassStep("openvino", {"precision": "fp32"})
    request = CompileRequest("", tmp_path / "model.onnx", step, GEOMETRY, tmp_path / "none.npz", tmp_path)
    remark = "openvino: 1 of 1 attentions run as separate operators on this CPU"
    assert compile_model(request) == ((remark,) if scale else ())


def test_a_fixed_batch_is_calibrated_one_sample_at_a_time(
    tmp_path: Path, weights: dict[str, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(globals(), "GRAPH", GRAPH.replace("batch", "1"))
    model = build(tmp_path, weights, quantize="full", overflow_fix=True)
    assert "FakeQuantize" in list_types(model)


def test_an_unknown_option_is_an_error(tmp_path: Path, weights: dict[str, np.ndarray]) -> None:
    with pytest.raises(PackError, match="quantize=half: there are only quantize=weights and quantize=full"):
        build(tmp_path, weights, quantize="half")


def test_projections_that_are_not_there_are_an_error(tmp_path: Path, weights: dict[str, np.ndarray]) -> None:
    import openvino as ov

    model = ov.Core().read_model(str(build(tmp_path, weights)))
    assert len(find_ffn_down(model, GEOMETRY)) == 1
    with pytest.raises(PackError, match="the graph has no 99 x 64 projection"):
        find_ffn_down(model, Geometry(layers=1, heads=1, hidden=64, ffn=99))
    with pytest.raises(PackError, match="layer widths are not known"):
        find_ffn_down(model, None)
