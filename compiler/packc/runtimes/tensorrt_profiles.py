"""Optimization profiles: which shapes an engine takes and is tuned for, and which values its inputs hold.

Copied into bundles beside engine.py, so it imports nothing of packc: Python 3.8 and numpy.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np


def add_profiles(builder: Any, network: Any, config: Any, profiles: Sequence[str]) -> None:
    """Adds the optimization profiles. Raises RuntimeError where they do not fit the network's inputs."""
    inputs = [network.get_input(index) for index in range(network.num_inputs)]
    shapes = {tensor.name: tuple(tensor.shape) for tensor in inputs}
    by_value = [tensor.name for tensor in inputs if tensor.is_shape_tensor]
    if by_value:
        raise RuntimeError(f"the values of {', '.join(by_value)} decide shapes, which pack's engines do not support")
    open_axes = [f"{name} {list(shape)}" for name, shape in shapes.items() if -1 in shape]
    if open_axes and not profiles:
        raise RuntimeError(f"no optimization profile is given, and inputs have open axes: {', '.join(open_axes)}")
    for text in profiles:
        profile = builder.create_optimization_profile()
        for name, ranges in read_profile(text, shapes).items():
            if -1 in shapes[name]:
                profile.set_shape(name, *ranges)
        if open_axes and config.add_optimization_profile(profile) < 0:
            raise RuntimeError(f"TensorRT refuses the optimization profile {text!r}")


def read_profile(text: str, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, list[tuple[int, ...]]]:
    """ "ids=1x1/1x128/32x512" -> {"ids": [(1, 1), (1, 128), (32, 512)]}; one shape stands for all three.

    `shapes` are the network's, -1 for open axes. Raises RuntimeError where the profile does not fit them.
    """
    profile = {}
    for word in text.split():
        name, _, ranges = word.rpartition("=")
        steps = [tuple(int(size) for size in shape.split("x")) for shape in ranges.split("/")]
        steps = steps * 3 if len(steps) == 1 else steps
        if name not in shapes:
            raise RuntimeError(f"profile {text!r} names {name!r}; the graph's inputs are {', '.join(shapes)}")
        if len(steps) != 3 or not all(fits(shape, shapes[name]) for shape in steps):
            raise RuntimeError(f"profile {text!r} does not fit the input {name} {list(shapes[name])}")
        if any(least > usual or usual > most for least, usual, most in zip(*steps)):  # noqa: B905 - Python 3.8
            raise RuntimeError(f"profile {text!r}: the shapes of {name} are not in order: least, usual, largest")
        profile[name] = steps
    missing = [f"{name} {list(shape)}" for name, shape in shapes.items() if -1 in shape and name not in profile]
    if missing:
        raise RuntimeError(f"profile {text!r} says nothing about inputs with open axes: {', '.join(missing)}")
    return profile


def fits(shape: tuple[int, ...], declared: tuple[int, ...]) -> bool:
    """Whether the shape is one of an input that is declared so, -1 for open axes."""
    return len(shape) == len(declared) and all(d in (-1, s) for s, d in zip(shape, declared))  # noqa: B905 - Python 3.8


def read_ranges(engine: Any, inputs: Sequence[str], index: int) -> dict[str, list[tuple[int, ...]]]:
    """The least, usual and largest shape of each input in an optimization profile."""
    ranges = {}
    for name in inputs:
        shape = tuple(engine.get_tensor_shape(name))
        steps = engine.get_tensor_profile_shape(name, index) if -1 in shape else (shape,) * 3
        ranges[name] = [tuple(step) for step in steps]
    return ranges


def choose_profile(
    profiles: Sequence[Mapping[str, Sequence[tuple[int, ...]]]], shapes: Mapping[str, tuple[int, ...]]
) -> int:
    """The number of a profile: of those that take all inputs, the one whose usual shapes are nearest, as kernels were
    chosen for those.

    Raises RuntimeError naming an input that is refused, and the ranges.
    """
    missing = [name for name in profiles[0] if name not in shapes]
    if missing:
        raise RuntimeError(f"inputs are missing: {', '.join(missing)}")
    taking = [
        (sum(measure_distance(shape, ranges[name][1]) for name, shape in shapes.items()), index)
        for index, ranges in enumerate(profiles)
        if all(is_within(shape, ranges[name]) for name, shape in shapes.items())
    ]
    if taking:
        return min(taking)[1]
    # one that no profile takes; else, as each has its profile but they have none in common, what the first one refuses
    alone = [n for n, shape in shapes.items() if not any(is_within(shape, ranges[n]) for ranges in profiles)]
    name = (alone or [n for n, shape in shapes.items() if not is_within(shape, profiles[0][n])])[0]
    known = ", ".join(f"{list(ranges[name][0])} to {list(ranges[name][2])}" for ranges in profiles)
    raise RuntimeError(f"{name} has shape {list(shapes[name])}, and the engine's profiles take {known}")


def is_within(shape: tuple[int, ...], steps: Sequence[tuple[int, ...]]) -> bool:
    """Whether a profile with these least, usual and largest shapes takes the shape."""
    sizes = zip(steps[0], shape, steps[2])  # noqa: B905 - Python 3.8
    return len(shape) == len(steps[0]) and all(low <= size <= high for low, size, high in sizes)


def measure_distance(shape: tuple[int, ...], usual: tuple[int, ...]) -> float:
    """How far apart two shapes are, by the ratios of their axes."""
    pairs = zip(shape, usual)  # noqa: B905 - Python 3.8
    return sum(abs(math.log(max(1, size) / max(1, other))) for size, other in pairs)


def refuse_values(name: str, array: Any, dtype: np.dtype[Any]) -> None:
    """Raises RuntimeError for an array of another kind than the binding, or with values that this cannot hold."""
    if array.dtype == dtype or np.can_cast(array.dtype, dtype):
        return
    kinds = {array.dtype.kind.replace("u", "i"), dtype.kind.replace("u", "i")}
    if kinds != {"i"} and kinds != {"f"}:
        raise RuntimeError(f"{name} is {array.dtype}, and the engine takes {dtype}")
    limits: Any = np.iinfo(dtype) if kinds == {"i"} else np.finfo(dtype)
    values = array if kinds == {"i"} else array[np.isfinite(array)]
    if values.size and (values.min() < limits.min or values.max() > limits.max):
        raise RuntimeError(f"{name} has values that the engine's {dtype} cannot hold")
