from __future__ import annotations

from pathlib import Path

import onnx_ir as ir
import pytest

from graphs import parse_graph
from packc.passes.probe_values import compute_value, find_padding_mask, find_sources, hides_nothing, is_each_position

MASKS = """
agraph (int64[batch, length] ids, int64[batch, length] mask, float[batch, 3, 4, 4] image) => (float[n] y)
<float keep = {0.0}, float drop = {-3.4e38}, float weak = {-5.0}, int64[2] axes = {1, 2}, int64 zero = {0},
 int64 one = {1}, int64[1] two = {2}, int64[1] front = {0}, int64[1] flat = {-1}> {
   visible0 = Cast<to = 9>(mask)
   visible = Unsqueeze(visible0, axes)
   padding = Where(visible, keep, drop)
   hidden = Where(visible, drop, keep)
   faint = Where(visible, keep, weak)
   sizes = Shape<start = 1, end = 2>(mask)
   size = Squeeze(sizes)
   row = Range(zero, size, one)
   rows = Unsqueeze(row, front)
   columns = Unsqueeze(row, two2)
   later = Greater(rows, columns)
   causal0 = Where(later, drop, keep)
   causal = Unsqueeze(causal0, axes01)
   both = Add(causal, padding)
   shape = Shape(image)
   none = ConstantOfShape(shape)
   known0 = Cast<to = 9>(ids)
   known1 = Unsqueeze(known0, axes)
   known = Where(known1, padding, drop)
   y = Reshape(both, flat)
}
""".replace("two2", "one1").replace("int64[1] two = {2}", "int64[1] one1 = {1}, int64[2] axes01 = {0, 1}")


@pytest.fixture
def model() -> ir.Model:
    return parse_graph(MASKS)


def find_value(model: ir.Model, name: str) -> ir.Value:
    return next(value for node in model.graph for value in node.outputs if value.name == name)


@pytest.mark.parametrize(
    ("name", "mask"),
    [("padding", "mask"), ("hidden", None), ("faint", None), ("causal", None), ("both", None), ("known", None)],
)
def test_find_padding_mask_tells_it_from_others(model: ir.Model, name: str, mask: str | None) -> None:
    found = find_padding_mask(model, find_value(model, name))
    assert (found.name if found else None) == mask


def test_hides_nothing_is_for_zeros_that_sizes_alone_decide(model: ir.Model) -> None:
    assert hides_nothing(model, find_value(model, "none"))
    assert not hides_nothing(model, find_value(model, "causal"))
    assert not hides_nothing(model, find_value(model, "padding"))


def test_is_each_position(model: ir.Model) -> None:
    assert is_each_position(model, find_value(model, "rows"))
    assert not is_each_position(model, find_value(model, "columns").uses()[0].node.outputs[0])
    assert not is_each_position(model, model.graph.inputs[0])


def test_find_sources_stops_at_sizes(model: ir.Model) -> None:
    assert {value.name for value in find_sources(find_value(model, "known"))} == {"ids", "mask"}
    assert find_sources(find_value(model, "causal")) == []


def test_compute_value_reads_weights_that_lie_beside_the_graph(model: ir.Model, tmp_path: Path) -> None:
    saved = tmp_path / "model.onnx"
    ir.save(model, saved, external_data="model.onnx.data", size_threshold_bytes=0)
    beside = ir.load(saved)
    assert is_each_position(beside, find_value(beside, "rows"))


def test_compute_value_gives_up_on_what_does_not_run(model: ir.Model) -> None:
    node = find_value(model, "columns").producer()
    assert node is not None
    node.op_type = "NoSuchOperator"
    assert compute_value(model, node.outputs[0]) is None
