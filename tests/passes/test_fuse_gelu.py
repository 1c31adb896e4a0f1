from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from graphs import apply_pass, count_nodes, make_context, parse_graph, random_weights, run_model
from packc.passes.fuse_gelu import FuseGelu
from packc.passes.graph_pass import PassError

ERF = """
agraph (float[batch, 8] x) => (float[batch, 8] y) <float root = {1.4142135}, float one = {1.0}, float half = {0.5}> {
   a = Div(x, root)
   b = Erf(a)
   c = Add(b, one)
   d = Mul(half, c)
   y = Mul(x, d)
}
"""
TANH = """
agraph (float[batch, 8] x) => (float[batch, 8] y)
<float three = {3.0}, float k = {0.044715}, float root = {0.7978845608}, float one = {1.0}, float half = {0.5}> {
   cube = Pow(x, three)
   small = Mul(k, cube)
   sum = Add(x, small)
   inner = Mul(root, sum)
   tanh = Tanh(inner)
   shifted = Add(tanh, one)
   %s
}
"""
TANH_FORMS = (
    "halved = Mul(half, shifted)\n y = Mul(x, halved)",
    "halved = Mul(half, x)\n y = Mul(halved, shifted)",
)


@pytest.mark.parametrize("text", [ERF, *(TANH % form for form in TANH_FORMS)])
def test_fuse_gelu_makes_one_operator(tmp_path: Path, text: str) -> None:
    model = parse_graph(text)
    x = random_weights(2, 8)
    before = run_model(model, x=x)
    report = apply_pass(FuseGelu(), model, make_context(tmp_path))
    assert count_nodes(model) == {"Gelu": 1}
    assert model.opset_imports[""] == 20
    assert (report.fused, report.warnings) == (1, ())
    np.testing.assert_allclose(run_model(model, x=x)[0], before[0], atol=1e-6)


def test_fuse_gelu_warns_of_what_it_does_not_know(tmp_path: Path) -> None:
    model = parse_graph("agraph (float[b, 8] x) => (float[b, 8] y) { y = Erf(x) }")
    report = apply_pass(FuseGelu(), model, make_context(tmp_path))
    assert report.warnings == ("fuse_gelu: 1 Erf operators are in no GELU that is known",)


def test_fuse_gelu_requires_a_recent_opset(tmp_path: Path) -> None:
    old = parse_graph("agraph (float[4] x) => (float[4] y) { y = Erf(x) }", opset=13)
    assert "opset 13" in (FuseGelu().requires(old, make_context(tmp_path)) or "")


def test_fuse_gelu_ensures_the_opset(tmp_path: Path) -> None:
    model = parse_graph("agraph (float[b, 8] x) => (float[b, 8] y) { y = Gelu(x) }", opset=20)
    model.graph.opset_imports[""] = 18
    with pytest.raises(PassError, match="opset 20"):
        FuseGelu().ensures(model, make_context(tmp_path))
