from __future__ import annotations

import numpy as np
import onnx_ir as ir

from graphs import count_nodes, evaluate_model, parse_graph, random_weights
from packc.passes.quantized_weights import drop_unused_weights, find_lookups, quantize_symmetric, quantize_tables

GRAPH = """
agraph (int64[batch, length] ids) => (float[batch, length, 8] y, int64[batch, length] z) {
   y = Gather(table, ids)
   z = Gather(numbers, ids)
}
"""


def test_weights_are_symmetric_and_a_column_of_zeros_stays() -> None:
    weights = np.array([[1.0, 0.0], [-2.0, 0.0]], np.float32)
    quantized, scale = quantize_symmetric(weights, axis=0)
    np.testing.assert_array_equal(quantized, [[64, 0], [-127, 0]])
    np.testing.assert_allclose(scale, [[2 / 127, 1.0]])
    reduced, _ = quantize_symmetric(weights, axis=0, largest=63)
    np.testing.assert_array_equal(reduced, [[31, 0], [-63, 0]])


def test_tables_of_fp32_rows_are_int8_with_a_scale_a_row() -> None:
    table = random_weights(32, 8) * np.logspace(-2, 1, 32, dtype=np.float32)[:, None]
    model = parse_graph(GRAPH, {"table": table, "numbers": np.arange(32)})
    assert len(find_lookups(model)) == 1
    quantize_tables(model)
    drop_unused_weights(model.graph)
    assert count_nodes(model) == {"Gather": 3, "Cast": 1, "Mul": 1}
    assert "table" not in model.graph.initializers
    assert ir.DataType.INT8 in {value.dtype for value in model.graph.initializers.values()}
    ids = np.arange(32).reshape(2, 16)
    rows, numbers = evaluate_model(model, ids=ids)
    steps = np.abs(table).max(axis=1, keepdims=True) / 127
    assert (np.abs(rows.reshape(32, 8) - table) <= 0.51 * steps).all()
    np.testing.assert_array_equal(numbers, ids)
