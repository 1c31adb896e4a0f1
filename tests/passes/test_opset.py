from __future__ import annotations

import numpy as np
import pytest

from graphs import parse_graph, random_weights, run_model
from packc.passes.opset import IR_VERSIONS, raise_opset, refuse_opset


@pytest.mark.parametrize("opset", sorted(IR_VERSIONS))
def test_raise_opset_keeps_the_answer(opset: int) -> None:
    model = parse_graph(
        "agraph (float[b, 8] x) => (float[b, 1] y) <int64[1] axes = {1}> { a = Softmax(x)\n y = ReduceMax(a, axes) }"
    )
    x = random_weights(2, 8)
    before = run_model(model, x=x)[0]
    raise_opset(model, opset)
    assert model.opset_imports[""] == opset
    assert (model.ir_version or 0) >= IR_VERSIONS[opset]
    np.testing.assert_allclose(run_model(model, x=x)[0], before, rtol=1e-6)


def test_raise_opset_never_goes_down() -> None:
    model = parse_graph("agraph (float[4] x) => (float[4] y) { y = Sqrt(x) }", opset=21)
    raise_opset(model, 20)
    assert model.opset_imports[""] == 21


def test_refuse_opset_names_both() -> None:
    graph = "agraph (float[4] x) => (float[4] y) { y = Sqrt(x) }"
    assert refuse_opset(parse_graph(graph, opset=18)) is None
    assert refuse_opset(parse_graph(graph, opset=17)) == "the graph has opset 17, fusions need 18 or later"
