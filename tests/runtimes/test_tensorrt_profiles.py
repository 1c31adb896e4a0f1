from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tensorrt_bench import DYNAMIC, Bench
from tensorrt_stub import save_network


@pytest.mark.parametrize("profiles", [[], ["x=2x2/2x2/2x2"]])
def test_a_static_network_needs_no_profile(bench: Bench, profiles: list[str]) -> None:
    save_network(Path(bench.model), inputs={"x": ("float32", [2, 2])}, outputs={"y": ("float32", [2, 2])})
    session = bench.engine.load(bench.model, {"profiles": profiles}, threads=1)
    assert session.engine.num_optimization_profiles == 0
    assert bench.run(session, 2).shape == (2, 2)
    with pytest.raises(
        RuntimeError, match=r"^x has shape \[3, 2\], and the engine's profiles take \[2, 2\] to \[2, 2\]$"
    ):
        bench.run(session, 3)


@pytest.mark.parametrize(
    ("profiles", "message"),
    [
        ([], r"^no optimization profile is given, and inputs have open axes: x \[-1, 2\]$"),
        (["z=1x2"], r"^profile 'z=1x2' names 'z'; the graph's inputs are x$"),
        (["x=1/2/4"], r"^profile 'x=1/2/4' does not fit the input x \[-1, 2\]$"),
        (["x=1x2/2x3/4x2"], r"does not fit the input x \[-1, 2\]$"),
        (["x=1x2/2x2"], r"does not fit the input x"),
        (["x=2x2/1x2/4x2"], r"the shapes of x are not in order: least, usual, largest$"),
        ([""], r"^profile '' says nothing about inputs with open axes: x \[-1, 2\]$"),
    ],
)
def test_profiles_that_do_not_fit(bench: Bench, profiles: list[str], message: str) -> None:
    with pytest.raises(RuntimeError, match=message):
        bench.engine.build(bench.model, str(bench.plan), {"profiles": profiles})
    assert not bench.plan.exists()


def test_one_shape_stands_for_all_three(bench: Bench) -> None:
    shapes = {"x": (-1, 2), "n": (3,)}
    assert bench.module("profiles").read_profile("x=4x2 n=3", shapes) == {"x": [(4, 2)] * 3, "n": [(3,)] * 3}


def test_the_profile_that_was_tuned_for_the_nearest_shape_is_used(bench: Bench) -> None:
    session = bench.engine.load(bench.model, {"profiles": ["x=1x2", "x=1x2/2x2/16x2", "x=1x2/16x2/16x2"]}, threads=1)
    chosen = [bench.module("profiles").choose_profile(session.profiles, {"x": (rows, 2)}) for rows in (1, 2, 5, 6, 16)]
    assert chosen == [0, 1, 1, 2, 2]
    for rows in (1, 3, 16, 3):
        assert bench.run(session, rows).shape[0] == rows
    assert {index: context._profile for index, context in session.contexts.items()} == {0: 0, 1: 1, 2: 2}
    message = r"^x has shape \[17, 2\], and the engine's profiles take \[1, 2\] to \[1, 2\], \[1, 2\] to \[16, 2\], "
    with pytest.raises(RuntimeError, match=message):
        bench.run(session, 17)


def test_inputs_that_have_no_profile_in_common(bench: Bench) -> None:
    shapes = {"x": ("float32", [-1]), "z": ("float32", [-1])}
    save_network(Path(bench.model), inputs=shapes, outputs={"y": ("float32", [-1])})
    session = bench.engine.load(bench.model, {"profiles": ["x=1 z=1", "x=2 z=2"]}, threads=1)
    with pytest.raises(
        RuntimeError, match=r"^z has shape \[2\], and the engine's profiles take \[1\] to \[1\], \[2\] to"
    ):
        bench.engine.run(session, {"x": np.ones(1, np.float32), "z": np.ones(2, np.float32)})


def test_missing_inputs_are_named(bench: Bench) -> None:
    session = bench.engine.load(bench.model, DYNAMIC, threads=1)
    with pytest.raises(RuntimeError, match=r"^inputs are missing: x$"):
        bench.engine.run(session, {"other": np.zeros(1)})


def test_whole_numbers_become_what_the_binding_takes(bench: Bench) -> None:
    save_network(Path(bench.model), inputs={"x": ("int64", [2])}, outputs={"y": ("int64", [2])})
    session = bench.engine.load(bench.model, {}, threads=1)
    dtype = np.int32 if bench.world.dialect == 8 else np.int64
    answer = bench.engine.run(session, {"x": np.array([1, -3], np.int64)})["y"]
    assert (answer.tolist(), answer.dtype) == ([2, -6], dtype)
    large = {"x": np.array([0, 2**40])}
    if bench.world.dialect == 8:
        with pytest.raises(RuntimeError, match=r"^x has values that the engine's int32 cannot hold$"):
            bench.engine.run(session, large)
    else:
        assert bench.engine.run(session, large)["y"].tolist() == [0, 2**41]
    with pytest.raises(RuntimeError, match=rf"^x is float32, and the engine takes {np.dtype(dtype)}$"):
        bench.engine.run(session, {"x": np.ones(2, np.float32)})


def test_half_precision_takes_infinities_but_no_large_values(bench: Bench) -> None:
    save_network(Path(bench.model), inputs={"x": ("float16", [2])}, outputs={"y": ("float16", [2])})
    session = bench.engine.load(bench.model, {}, threads=1)
    answer = bench.engine.run(session, {"x": np.array([1.5, -np.inf])})["y"]
    assert (answer.tolist(), answer.dtype) == ([3.0, -np.inf], np.float16)
    with pytest.raises(RuntimeError, match=r"^x has values that the engine's float16 cannot hold$"):
        bench.engine.run(session, {"x": np.array([70000.0, np.inf])})
    assert bench.engine.run(session, {"x": np.array([True, False])})["y"].tolist() == [2, 0]
