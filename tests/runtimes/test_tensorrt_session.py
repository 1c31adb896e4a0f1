from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tensorrt_bench import DYNAMIC, Bench

TWO_PROFILES = {"precision": "fp32", "profiles": ["x=1x2/1x2/1x2", "x=4x2/4x2/4x2", "x=1x2/2x2/4x2"], "graph": True}


def load(bench: Bench, options: dict[str, Any]) -> Any:
    return bench.engine.load(bench.model, options, threads=1)


def count_graphs(bench: Bench) -> int:
    """Those that are ready to be launched: what they were made of is given up at once."""
    return sum(bool(work) for work in bench.cuda.graphs.values())


def test_a_graph_goes_before_its_context_is_told_other_shapes(bench: Bench) -> None:
    session = load(bench, {**DYNAMIC, "graph": True})
    bench.run(session, 4)  # memory enough for all
    for rows, kept in ((1, 0), (1, 0), (1, 1), (2, 0), (2, 0), (2, 1), (1, 0)):
        assert bench.run(session, rows, 3.0).tolist() == [[6, 6]] * rows
        assert count_graphs(bench) == kept


def test_shapes_with_a_profile_for_themselves_keep_their_graphs(bench: Bench) -> None:
    session = load(bench, TWO_PROFILES)
    for rows in (4, 4, 4, 1, 1, 1):
        bench.run(session, rows)
    assert (len(session.contexts), count_graphs(bench)) == (2, 2)
    bench.cuda.done.clear()
    for rows, value in ((4, 2.0), (1, 3.0), (4, 4.0), (3, 5.0), (1, 6.0)):
        np.testing.assert_array_equal(bench.run(session, rows, value), np.full((rows, 2), 2 * value))
    assert bench.cuda.done == ["launch"] * 3 + ["to device", "execute", "to host", "launch"]


def test_graphs_go_where_memory_moves(bench: Bench) -> None:
    session = load(bench, {**DYNAMIC, "graph": True})
    for rows in (1, 1, 1, 4):
        bench.run(session, rows)
    assert count_graphs(bench) == 0
    assert list(session.calls) == [((4, 2),)]
    for value in (1.0, 2.0, 3.0):
        assert bench.run(session, 1, value)[0, 0] == 2 * value
    assert count_graphs(bench) == 1


def test_what_is_prepared_for_shapes_is_limited(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench.module("session"), "MOST_SHAPES", 2)
    session = load(bench, {**DYNAMIC, "graph": True})
    for rows in (4, 2, 3, 1, 1, 1):
        assert bench.run(session, rows).shape[0] == rows
    assert list(session.calls) == [((3, 2),), ((1, 2),)]
    assert bench.cuda.done[-1] == "launch"


def test_memory_that_tensorrt_refuses_is_an_error(bench: Bench) -> None:
    session = load(bench, DYNAMIC)
    bench.world.address_error = "not aligned"
    with pytest.raises(RuntimeError, match=r"^TensorRT refuses the memory of x: not aligned$"):
        bench.run(session, 1)
    bench.world.address_error = ""
    assert bench.run(session, 1, 2.0)[0, 0] == 4
