from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from graphs import (
    ATTENTION,
    apply_pass,
    count_nodes,
    make_attention,
    make_context,
    parse_graph,
    random_weights,
    run_model,
)
from packc.passes.graph_pass import PassError
from packc.passes.plain_mask import PlainMask

MASKS = np.array([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]])
LEFT = np.array([[1, 1, 1, 1, 1], [0, 0, 1, 1, 1]])
GATHERED = ATTENTION.replace(
    "visible = Unsqueeze(visible0, axes)",
    """sizes = Shape(mask)
   rows0 = Gather(sizes, first)
   rows1 = Range(first, rows0, second)
   rows = Unsqueeze(rows1, behind)
   keys0 = Gather(sizes, second)
   keys1 = Range(first, keys0, second)
   keys = Unsqueeze(keys1, ahead)
   both = Max(rows, keys)
   grid = Shape(both)
   row = Expand(rows, grid)
   key = Expand(keys, grid)
   row1 = Unsqueeze(row, last)
   key1 = Unsqueeze(key, last)
   places = Concat<axis = -1>(row1, key1)
   visible = GatherND(visible0, places)""",
).replace(
    "<int64[4] split",
    "<int64 first = {0}, int64 second = {1}, int64[3] behind = {1, 2, 3}, int64[3] ahead = {0, 1, 2},"
    " int64[1] last = {-1}, int64[4] split",
)
"""As the exporter of PyTorch writes it."""
CAUSAL = ATTENTION.replace("bias = Where(", "padded = Where(").replace(
    "scores0 = ", "bias = Add(padded, triangle)\n   scores0 = "
)
WEIGHTS = {f"w{name}": random_weights(8, 8, seed=i) for i, name in enumerate("qkv")}


@pytest.mark.parametrize("text", [ATTENTION, GATHERED], ids=["unsqueezed", "gathered"])
def test_a_padding_mask_is_five_operators_however_it_was_written(tmp_path: Path, text: str) -> None:
    model = make_attention(text)
    x = random_weights(2, 5, 8)
    before = [run_model(model, x=x, mask=mask)[0] for mask in (MASKS, LEFT)]
    report = apply_pass(PlainMask(), model, make_context(tmp_path))
    assert (report.modified, report.fused, report.warnings) == (True, 1, ())
    nodes = count_nodes(model)
    gone = ("Where", "Range", "GatherND", "Max", "Expand", "Shape")
    assert not any(nodes[name] for name in gone)
    assert (nodes["Cast"], nodes["Unsqueeze"], nodes["Sub"], nodes["Mul"]) == (2, 1, 1, 2)  # one scales the scores
    for mask, expected in zip((MASKS, LEFT), before, strict=True):
        np.testing.assert_allclose(run_model(model, x=x, mask=mask)[0], expected, atol=1e-6)


def test_token_ids_hide_where_they_are_0(tmp_path: Path) -> None:
    model = make_attention(ATTENTION)
    x, ids = random_weights(2, 5, 8), 7 * MASKS
    before = run_model(model, x=x, mask=ids)[0]
    apply_pass(PlainMask(), model, make_context(tmp_path))
    np.testing.assert_allclose(run_model(model, x=x, mask=ids)[0], before, atol=1e-6)


def test_other_masks_stay_and_are_told(tmp_path: Path) -> None:
    triangle = np.triu(np.full((5, 5), -1e5, np.float32), 1)
    model = parse_graph(CAUSAL, {**WEIGHTS, "triangle": triangle})
    report = apply_pass(PlainMask(), model, make_context(tmp_path))
    assert not report.modified
    assert report.warnings == ("plain_mask: 1 mask of another kind: the operators stay",)
    assert count_nodes(model)["Where"] == 1


def test_without_a_mask_nothing_happens(tmp_path: Path) -> None:
    model = parse_graph("agraph (float[batch, 8] x) => (float[batch, 8] y) { y = Softmax(x) }")
    report = apply_pass(PlainMask(), model, make_context(tmp_path))
    assert (report.modified, report.warnings) == (False, ())


def test_a_mask_that_stayed_breaks_the_promise(tmp_path: Path) -> None:
    with pytest.raises(PassError, match="bias is still a padding mask of another form"):
        PlainMask().ensures(make_attention(ATTENTION), make_context(tmp_path))


def test_it_needs_axes_that_are_inputs(tmp_path: Path) -> None:
    model = parse_graph("agraph (float[4] x) => (float[4] y) { y = Relu(x) }", opset=12)
    assert PlainMask().requires(model, make_context(tmp_path)) == "the graph has opset 12, masks need 13 or later"
