from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from graphs import apply_pass, count_nodes, make_context, parse_graph, run_model
from packc.passes.clean_graph import CleanGraph
from packc.passes.graph_pass import PassError

GRAPH = """
agraph (float[batch, 4] x) => (float[batch, 4] y) <float[4] a = {1, 2, 3, 4}, float[4] b = {1, 1, 1, 1}> {
   folded = Add(a, b)
   once = Mul(x, folded)
   twice = Mul(x, folded)
   same = Identity(twice)
   dead = Sqrt(once)
   y = Add(once, same)
}
"""


def test_clean_graph_folds_merges_and_drops(tmp_path: Path) -> None:
    model = parse_graph(GRAPH)
    x = np.arange(8, dtype=np.float32).reshape(2, 4)
    before = run_model(model, x=x)
    report = apply_pass(CleanGraph(), model, make_context(tmp_path))
    assert count_nodes(model) == {"Mul": 1, "Add": 1}
    assert report.modified
    assert report.fused == 4
    np.testing.assert_array_equal(run_model(model, x=x)[0], before[0])


def test_clean_graph_ensures_that_no_dead_node_is_left(tmp_path: Path) -> None:
    with pytest.raises(PassError, match="Sqrt"):
        CleanGraph().ensures(parse_graph(GRAPH), make_context(tmp_path))
