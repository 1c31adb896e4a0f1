from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from graphs import apply_pass, count_nodes, make_context, parse_graph, random_weights, run_model
from packc.passes.graph_pass import PassError
from packc.passes.merge_bias_gelu import MergeBiasGelu

GELU = """
agraph (float[batch, length, 8] x) => (float[batch, length, 8] y) {
   biased = Add(x, b)
   y = Gelu<approximate = "none">(biased)
}
"""
X = random_weights(2, 5, 8, seed=4)


def make_model(text: str = GELU) -> ir.Model:
    return parse_graph(text, {"b": random_weights(8)}, opset=20)


@pytest.mark.parametrize(("approximate", "operator"), [("none", "BiasGelu"), ("tanh", "FastGelu")])
def test_merge_bias_gelu_makes_one_operator(tmp_path: Path, approximate: str, operator: str) -> None:
    model = make_model(GELU.replace("none", approximate))
    before = run_model(model, x=X)
    report = apply_pass(MergeBiasGelu(), model, make_context(tmp_path))
    assert count_nodes(model) == {operator: 1}
    assert (report.fused, report.expected) == (1, 1)
    np.testing.assert_allclose(run_model(model, x=X)[0], before[0], atol=1e-5)


def test_merge_bias_gelu_leaves_a_sum_that_others_read_alone(tmp_path: Path) -> None:
    text = GELU.replace("y = Gelu", "g = Gelu").replace("(biased)\n}", "(biased)\n y = Add(g, biased)\n}")
    reason = MergeBiasGelu().requires(make_model(text), make_context(tmp_path))
    assert reason == "no Gelu has a bias in front of it"


def test_merge_bias_gelu_ensures_that_none_is_left(tmp_path: Path) -> None:
    with pytest.raises(PassError, match="still has a bias in front of it"):
        MergeBiasGelu().ensures(make_model(), make_context(tmp_path))
