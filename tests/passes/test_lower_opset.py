from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from graphs import apply_pass, count_nodes, make_context, parse_graph, random_weights, run_model
from packc.candidate import PassStep
from packc.passes.graph_pass import PassError, PassReport
from packc.passes.lower_opset import LowerOpset, refuse_graph
from packc.passes.worker import run_step

STEP = PassStep("lower_opset", {"opset": 17})

AXES = np.array([1], np.int64)
GRAPHS = {
    "axes": ("agraph (float[batch, 6] x) => (float[batch, 1] y) { y = ReduceMean <keepdims = 1> (x, axes) }",
             {"axes": AXES}),
    "all axes": ("agraph (float[batch, 6] x) => (float[1, 1] y) { y = ReduceL2 (x) }", {}),
    "parts": ("agraph (float[batch, 6] x) => (float[batch, 3] y) "
              "{ a, b = Split <axis = 1, num_outputs = 2> (x) y = Add (a, b) }", {}),
    "unequal parts": ("agraph (float[batch, 7] x) => (float[batch, 7] y) "
                      "{ a, b, c = Split <axis = 1, num_outputs = 3> (x) y = Concat <axis = 1> (c, b, a) }", {}),
    "pads": ("agraph (float[batch, 6] x) => (float[batch, 9] y) { y = Pad (x, pads, , axes) }",
             {"pads": np.array([1, 2], np.int64), "axes": AXES}),
    "resize": ("agraph (float[1, 1, 2, 6] x) => (float[1, 1, 4, 12] y) "
               "{ y = Resize <antialias = 0, keep_aspect_ratio_policy = \"stretch\"> (x, , scales) }",
               {"scales": np.array([1, 1, 2, 2], np.float32)}),
    "some sizes": ("agraph (float[batch, 6] x) => (int64[1] y) { y = Shape <start = 1, end = 2> (x) }", {}),
    "last size": ("agraph (float[batch, 6] x) => (float[z] y) "
                  "{ a = Shape <start = -1> (x) y = ConstantOfShape (a) }", {}),
    "unchanged": ("agraph (float[batch, 6] x) => (float[batch, 6] y) { y = Relu (x) }", {}),
}  # fmt: skip


@pytest.mark.parametrize("name", GRAPHS)
def test_the_graph_of_opset_17_computes_the_same(tmp_path: Path, name: str) -> None:
    text, weights = GRAPHS[name]
    model = parse_graph(text, weights)
    x = {"resize": random_weights(1, 1, 2, 6), "unequal parts": random_weights(3, 7)}.get(name, random_weights(3, 6))
    expected = run_model(model, x=x)[0]
    report = apply_pass(LowerOpset(), model, make_context(tmp_path, opset=17))
    assert report.modified
    assert report.fused == (name != "unchanged")
    proto = ir.to_proto(model)
    assert proto.opset_import[0].version == 17
    onnx.checker.check_model(proto, full_check=True)
    np.testing.assert_array_equal(run_model(ir.from_proto(proto), x=x)[0], expected)


def test_equal_parts_get_no_sizes_and_unequal_ones_do(tmp_path: Path) -> None:
    for name, inputs in (("parts", 1), ("unequal parts", 2)):
        model = parse_graph(*GRAPHS[name])
        apply_pass(LowerOpset(), model, make_context(tmp_path, opset=17))
        assert next(len(node.inputs) for node in model.graph if node.op_type == "Split") == inputs


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("y = Mish (x)", "opset 17 has no Mish"),
        ("a = Shape (x) b = Slice (a, one, two) y = ReduceMax <keepdims = 1> (x, b)", "axes of .* are computed"),
        ("y = ReduceMean <noop_with_empty_axes = 1> (x)", "reduces nothing"),
        ("a, y = Split <axis = 0, num_outputs = 2> (x)", "splits a size that is not known"),
        ("y = Resize <keep_aspect_ratio_policy = \"not_larger\"> (x, , , sizes)", "axes, antialias or aspect policy"),
        ("y = Resize <antialias = 1, mode = \"linear\"> (x, , , sizes)", "no axes, antialias or aspect policy"),
        ("y = ScatterND <reduction = \"max\"> (x, at, x)", "has no maximum"),
    ],
)  # fmt: skip
def test_what_17_cannot_say_is_refused_by_name(tmp_path: Path, body: str, reason: str) -> None:
    weights = {"one": np.array([1], np.int64), "two": np.array([2], np.int64), "sizes": np.array([4, 12], np.int64)}
    model = parse_graph(f"agraph (float[batch, 6] x, int64[batch, 1] at) => (float[p, q] y) {{ {body} }}", weights)
    with pytest.raises(PassError, match=f"^lower_opset cannot apply: .*{reason}"):
        run_step(STEP, model, make_context(tmp_path, opset=17))


def test_older_graphs_stay_and_newer_ones_are_refused(tmp_path: Path) -> None:
    text = GRAPHS["unchanged"][0]
    old, new = parse_graph(text, opset=16), parse_graph(text, opset=20)
    assert not apply_pass(LowerOpset(), old, make_context(tmp_path, opset=17)).modified
    assert old.opset_imports[""] == 16
    with pytest.raises(PassError, match="the graph has opset 20, and only 18 can be lowered"):
        run_step(STEP, new, make_context(tmp_path, opset=17))


def test_a_shape_of_some_axes_is_never_left_with_a_warning(tmp_path: Path) -> None:
    """TensorRT before 10 gives all sizes for it, without a word."""
    new = parse_graph(GRAPHS["some sizes"][0], opset=20)
    with pytest.raises(PassError, match=r"^lower_opset cannot apply: "):
        run_step(STEP, new, make_context(tmp_path, opset=17))


def test_nothing_to_do_is_no_warning(tmp_path: Path) -> None:
    old = parse_graph(GRAPHS["unchanged"][0], opset=17)
    assert run_step(STEP, old, make_context(tmp_path, opset=17)) == PassReport("lower_opset", modified=False)


def test_there_is_no_other_opset(tmp_path: Path) -> None:
    model = parse_graph(GRAPHS["unchanged"][0])
    with pytest.raises(PassError, match="there is only opset=17"):
        apply_pass(LowerOpset(), model, make_context(tmp_path, opset=13))
    assert count_nodes(model) == {"Relu": 1}


def test_shapes_give_all_sizes_in_older_graphs_too(tmp_path: Path) -> None:
    model = parse_graph(GRAPHS["some sizes"][0], opset=17)
    x = random_weights(3, 6)
    assert apply_pass(LowerOpset(), model, make_context(tmp_path, opset=17)).fused == 1
    assert run_model(model, x=x)[0].tolist() == [6]
    assert not next(node for node in model.graph if node.op_type == "Shape").attributes


@pytest.mark.parametrize(("text", "opset"), [
    ("agraph (float[1, 3] x) => (float[3] y) { y = Squeeze <axes = [0]> (x) }", 11),
    ("agraph (float[2, 3] x) => (float[2] y) { y = ReduceSum <axes = [1], keepdims = 0> (x) }", 12),
])  # fmt: skip
def test_a_graph_is_held_against_its_own_older_opset(tmp_path: Path, text: str, opset: int) -> None:
    model = parse_graph(text, opset=opset)
    assert not apply_pass(LowerOpset(), model, make_context(tmp_path, opset=17)).modified
    assert model.opset_imports[""] == opset


def test_nodes_need_no_names(tmp_path: Path) -> None:
    text = """agraph (float[n, m] x) => (int64[2] y) {
        a = Shape <start = 0, end = 1> (x) b = Shape <start = 1, end = 2> (x) y = Concat <axis = 0> (a, b) }"""
    model = parse_graph(text)
    for node in model.graph:
        node.name = ""
    assert apply_pass(LowerOpset(), model, make_context(tmp_path, opset=17)).fused == 2
    assert run_model(model, x=random_weights(2, 3))[0].tolist() == [2, 3]


@pytest.mark.parametrize(("is_nothing", "reduced"), [(0, True), (1, False)])
def test_axes_that_are_none_are_all_or_nothing(tmp_path: Path, is_nothing: int, reduced: bool) -> None:
    text = (
        f"agraph (float[2, 3] x) => (float[p, q] y) {{ y = ReduceMax <noop_with_empty_axes = {is_nothing}> (x, ax) }}"
    )
    model = parse_graph(text, {"ax": np.array([], np.int64)})
    assert (refuse_graph(model) is None) == reduced
    if reduced:
        apply_pass(LowerOpset(), model, make_context(tmp_path, opset=17))
        x = random_weights(2, 3)
        assert run_model(model, x=x)[0].tolist() == [[x.max()]]
