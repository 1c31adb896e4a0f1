"""An engine on the device: its execution contexts, the memory of its tensors, and the shapes that they have now.

Copied into bundles beside engine.py, so it imports nothing of packc: Python 3.8, numpy and, through the plan's file,
tensorrt.

TensorRT keeps sizes in the execution context, where CUDA graphs read them: a graph that was recorded before the context
was told other shapes answers wrongly. So it is given up then. Each optimization profile has a context of its own, and
one that takes a single shape keeps its graph for good.
"""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tensorrt_driver import Buffer, Device  # type: ignore[import-not-found]
from tensorrt_plan import explain  # type: ignore[import-not-found]
from tensorrt_profiles import choose_profile  # type: ignore[import-not-found]

MOST_SHAPES = 1024
"""Shapes that are prepared at a time, at most, beside those that contexts were told last."""


@dataclass
class Call:
    """How inputs of one shape are run, which holds as long as no buffer moves."""

    profile: int
    """Number of the optimization profile whose context runs it."""
    shapes: dict[str, tuple[int, ...]]
    """Of the inputs."""
    inputs: dict[str, Any]
    outputs: dict[str, Any]
    """Arrays in the host's page-locked memory, as are the inputs."""
    repeats: int = 0
    """Whole calls since the context was told these shapes."""
    graph: ctypes.c_void_p | None = None
    """The recorded CUDA graph, while the context has these shapes."""


@dataclass
class Session:
    """An engine on the device. TensorRT's objects stay alive with it, in the order in which they need each other."""

    device: Device
    log: Any
    runtime: Any
    engine: Any
    free_bytes: int
    """Of the device's memory before the engine was loaded."""
    stream: ctypes.c_void_p
    is_graph: bool
    inputs: dict[str, Buffer]
    outputs: dict[str, Buffer]
    profiles: list[dict[str, list[tuple[int, ...]]]]
    """One an optimization profile: input -> least, usual and largest shape."""
    contexts: dict[int, Any] = field(default_factory=dict)
    """One an optimization profile that was used."""
    calls: dict[Any, Call] = field(default_factory=dict)
    """By the shapes of the inputs."""
    bound: dict[int, Call] = field(default_factory=dict)
    """Profile -> what its context was told last. No other call has a graph."""


def open_context(session: Session, index: int) -> Any:
    """The execution context of a profile. Raises RuntimeError where the GPU's memory does not take it."""
    if index not in session.contexts:
        context = session.engine.create_execution_context()
        if context is None or not context.set_optimization_profile_async(index, session.stream.value):
            raise RuntimeError(explain(session.log, f"TensorRT cannot open profile {index}"))
        session.device.call("cuStreamSynchronize", session.stream)
        session.contexts[index] = context
    return session.contexts[index]


def prepare_call(session: Session, shapes: dict[str, tuple[int, ...]]) -> Call:
    """Finds a profile for inputs of these shapes, and memory for them and the outputs.

    Where memory moves, all calls are forgotten before, as recorded graphs and arrays are of the old one: a lack of
    memory leaves nothing that points to what was freed.
    """
    profile = choose_profile(session.profiles, shapes)
    context = open_context(session, profile)
    unbind(session, profile)
    set_shapes(session, context, shapes)
    outputs = {name: tuple(context.get_tensor_shape(name)) for name in session.outputs}
    unknown = [name for name, shape in outputs.items() if any(size < 0 for size in shape)]
    if unknown:
        raise RuntimeError(f"the shape of {', '.join(unknown)} depends on values, which pack's engines do not support")
    buffers = {**session.inputs, **session.outputs}
    small = {name: shape for name, shape in {**shapes, **outputs}.items() if not buffers[name].holds(shape)}
    if small:
        forget_calls(session)
    for name, shape in small.items():
        buffers[name].reserve(session.device, shape)
    if len(session.calls) >= MOST_SHAPES:
        session.calls = {key: call for key, call in session.calls.items() if session.bound.get(call.profile) is call}
    return Call(
        profile,
        shapes,
        {name: buffers[name].view(shape) for name, shape in shapes.items()},
        {name: buffers[name].view(shape) for name, shape in outputs.items()},
    )


def forget_calls(session: Session) -> None:
    """Gives up all that points to the memory of buffers."""
    session.calls = {}
    for profile in list(session.bound):
        unbind(session, profile)


def unbind(session: Session, profile: int) -> None:
    """Before the profile's context is told other shapes: the graph of those it has would be wrong then."""
    call = session.bound.pop(profile, None)
    if call is None:
        return
    call.repeats, graph, call.graph = 0, call.graph, None
    if graph is not None:
        session.device.call("cuGraphExecDestroy", graph)


def set_shapes(session: Session, context: Any, shapes: Mapping[str, tuple[int, ...]]) -> None:
    for name, shape in shapes.items():
        if not context.set_input_shape(name, shape):
            raise RuntimeError(explain(session.log, f"TensorRT refuses the shape {list(shape)} of {name}"))


def bind_call(session: Session, call: Call) -> None:
    """Tells the context shapes and addresses, unless they are what it was told last."""
    if session.bound.get(call.profile) is call:
        return
    unbind(session, call.profile)
    context = session.contexts[call.profile]
    set_shapes(session, context, call.shapes)
    for buffer in (*session.inputs.values(), *session.outputs.values()):
        if not context.set_tensor_address(buffer.name, buffer.device.value):
            raise RuntimeError(explain(session.log, f"TensorRT refuses the memory of {buffer.name}"))
    session.bound[call.profile] = call
