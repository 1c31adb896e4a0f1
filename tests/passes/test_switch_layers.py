from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from graphs import apply_pass, make_context, parse_graph, random_weights, run_model
from packc.candidate import OptionValue
from packc.passes.linear_layers import find_linear_layers
from packc.passes.quantize_dynamic import QuantizeDynamic
from packc.passes.switch_layers import switch_layers

TEXT = """agraph (float[batch, 8] x) => (float[batch, 8] y) {
   a = MatMul(x, up)
   b = Relu(a)
   y = MatMul(b, down)
}"""
WEIGHTS = {"up": random_weights(8, 16), "down": random_weights(16, 8, seed=1)}
X = random_weights(5, 8, seed=2)


@pytest.mark.parametrize("options", [{}, {"per_channel": False}, {"reduce_range": True}])
def test_a_flag_does_to_a_layer_what_the_pass_does(tmp_path: Path, options: dict[str, OptionValue]) -> None:
    model = parse_graph(TEXT, WEIGHTS)
    flags = switch_layers(model, find_linear_layers(model), options)

    def run(*values: bool) -> np.ndarray:
        return run_model(model, x=X, **dict(zip(flags, map(np.array, values), strict=True)))[0]

    plain = parse_graph(TEXT, WEIGHTS)
    names = [str(layer.node.name) for layer in find_linear_layers(plain)]
    np.testing.assert_array_equal(run(False, False), run_model(plain, x=X)[0])
    for values, exclude in (((True, True), ""), ((True, False), (names[1],)), ((False, True), (names[0],))):
        quantized = parse_graph(TEXT, WEIGHTS)
        apply_pass(QuantizeDynamic(), quantized, make_context(tmp_path, exclude=exclude, **options))
        np.testing.assert_allclose(run(*values), run_model(quantized, x=X)[0], rtol=1e-6, atol=1e-6)
