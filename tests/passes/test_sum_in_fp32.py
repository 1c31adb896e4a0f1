from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx_ir.passes.common import RemoveUnusedNodesPass

from graphs import apply_pass, count_nodes, make_context, parse_graph, run_model
from packc.passes import find_pass
from packc.passes.sum_in_fp32 import SumInFp32

AXIS = {"axis": np.array(1, np.int64)}
LENGTH = 2100
"""More than fp16 counts."""
POSITIONS = """agraph (int64[batch, length] x) => (float[batch, length, 4] y) {
    padding = Equal (x, pad)
    token = Not (padding)
    one = Cast <to = 7> (token)
    position = CumSum (one, axis)
    embedded = Gather (table, position)
    y = MatMul (embedded, weights) }"""


def test_positions_are_added_up_in_fp32(tmp_path: Path) -> None:
    text = "agraph (int64[batch, 4] attention_mask) => (int64[batch, 4] y) { y = CumSum (attention_mask, axis) }"
    model = parse_graph(text, AXIS, opset=17)
    mask = np.array([[1, 1, 0, 1], [1, 0, 0, 0]])
    report = apply_pass(SumInFp32(), model, make_context(tmp_path))
    assert (report.modified, report.fused) == (True, 1)
    assert count_nodes(model) == {"Cast": 2, "CumSum": 1}
    onnx.checker.check_model(ir.to_proto(model), full_check=True)
    assert run_model(model, attention_mask=mask)[0].tolist() == np.cumsum(mask, 1).tolist()


@pytest.mark.parametrize("cast", ["cast_bf16", "cast_fp16"])
def test_positions_of_long_texts_are_right_in_every_precision(tmp_path: Path, cast: str) -> None:
    table = np.arange(4 * (LENGTH + 1), dtype=np.float32).reshape(-1, 4) % 13
    weights = {**AXIS, "pad": np.array(0, np.int64), "table": table, "weights": np.eye(4, dtype=np.float32)}
    model = parse_graph(POSITIONS, weights)
    x = np.r_[np.ones(LENGTH - 9, np.int64), np.zeros(9, np.int64)][None]
    for step, context in (("lower_opset", {"opset": 17}), (cast, {}), ("sum_in_fp32", {})):
        (folder := tmp_path / step).mkdir()
        apply_pass(find_pass(step), model, make_context(folder, **context))
    (total,) = (node for node in model.graph if node.op_type == "CumSum")
    assert total.inputs[0] is not None
    assert total.inputs[0].dtype == total.outputs[0].dtype == ir.DataType.FLOAT
    (gather,) = (node for node in model.graph if node.op_type == "Gather")
    assert gather.inputs[1] is not None
    model.graph.outputs[0] = gather.inputs[1]  # as CPUs have no products in bf16
    RemoveUnusedNodesPass()(model)
    assert run_model(model, x=x)[0].tolist() == np.cumsum(x, 1).tolist()


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("y = CumSum (x, axis)", "y adds up x, which may be other numbers than zeros and ones"),
        ("a = Add (x, x) y = CumSum (a, axis)", "y adds up a, which may be"),
        ("f = Cast <to = 1> (x) a = Cast <to = 7> (f) y = CumSum (a, axis)", "y adds up a, which may be"),
        ("y = CumSum (twos, axis)", "y adds up twos, which may be"),
    ],
)
def test_sums_that_fp32_may_not_have_are_refused(tmp_path: Path, body: str, reason: str) -> None:
    twos = np.full((1, 3), 2, np.int64)
    model = parse_graph(f"agraph (int64[1, 3] x) => (int64[1, 3] y) {{ {body} }}", {**AXIS, "twos": twos})
    refused = SumInFp32().requires(model, make_context(tmp_path))
    assert refused is not None
    assert reason in refused


def test_more_numbers_than_fp32_counts_are_refused(tmp_path: Path) -> None:
    text = "agraph (int64[1, 16777217] attention_mask) => (int64[1, 16777217] y) { y = CumSum (attention_mask, axis) }"
    refused = SumInFp32().requires(parse_graph(text, AXIS), make_context(tmp_path))
    assert refused == "y adds up more than 16,777,216 numbers"


@pytest.mark.parametrize("body", ["y = Relu (x)", "y = CumSum (x, axis)"])
def test_nothing_else_is_touched(tmp_path: Path, body: str) -> None:
    model = parse_graph(f"agraph (float[1, 3] x) => (float[1, 3] y) {{ {body} }}", AXIS)
    assert not apply_pass(SumInFp32(), model, make_context(tmp_path)).modified
    assert "Cast" not in count_nodes(model)
