"""Runs TensorRT engines, for the runner of a job bundle, and builds them from a command line.

packc.jobs.job has the contract. Copied into bundles as engine.py, with its other files (ENGINE_FILES of
packc.runtimes.tensorrt_python) beside it, so it imports nothing of packc: Python 3.8, numpy and tensorrt.

A call takes arrays of the host and gives arrays of the host, as a server's does, so that its time has both copies in
it. Where `graph` is set, the second call of a shape records a CUDA graph, one launch for copies and kernels. Where that
fails, the call fails by that name, and later calls of the shape run kernel by kernel.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).resolve().parent
if __name__ == "__main__":  # Python looks beside a script first, where packc has a tensorrt.py of its own
    sys.path[:] = [place for place in sys.path if Path(place or ".").resolve() != HERE]

import tensorrt as trt  # noqa: TID253, E402 - this file runs where tensorrt is, and only there

if str(HERE) not in sys.path:
    sys.path.append(str(HERE))  # last: what lies there may have the names of other packages

from tensorrt_build import build, build_apart  # type: ignore[import-not-found]  # noqa: E402
from tensorrt_driver import Buffer, Device, capture  # type: ignore[import-not-found]  # noqa: E402
from tensorrt_plan import (  # type: ignore[import-not-found]  # noqa: E402
    VERSION_COMPATIBLE,
    explain,
    find_version,
    load_engine,
    open_buffer,
    open_log,
    read_stamp,
    refuse_foreign_plan,
)
from tensorrt_profiles import choose_profile, read_ranges, refuse_values  # type: ignore[import-not-found]  # noqa: E402

MOST_GRAPHS = 64
"""Recorded graphs at most, with those that could not be recorded; further shapes run kernel by kernel."""
MOST_SHAPES = 1024
"""Shapes that are prepared at a time, at most, beside those with a graph."""


@dataclass
class Call:
    """How inputs of one shape are run, which holds as long as no buffer moves."""

    context: Any
    shapes: dict[str, tuple[int, ...]]
    """Of the inputs."""
    inputs: dict[str, Any]
    outputs: dict[str, Any]
    """Arrays in the host's page-locked memory, as are the inputs."""
    graph: ctypes.c_void_p | None = None
    """The recorded CUDA graph, once there is one."""


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
    calls: dict[Any, Call] = field(default_factory=dict)
    """By the shapes of the inputs, once a whole call has had them: TensorRT does in it what cannot be recorded."""
    bound: Call | None = None
    """The one that a context was told last."""
    graphs: int = 0
    plain: set[Any] = field(default_factory=set)
    """Shapes of which a recording has failed once: they run kernel by kernel, wherever memory moves."""


def load(model: str, options: Mapping[str, Any], threads: int) -> Session:
    """A session with the engine of `model`: a .plan, or an .onnx, of which another process builds the .plan beside it.

    The options are those of `build`, and `graph`: record a CUDA graph for each shape. Threads of the host have no part
    in it. Raises RuntimeError where there is no GPU, or the plan belongs to another TensorRT, GPU or platform.
    """
    path = Path(model)
    plan = path.with_suffix(".plan")
    if path.suffix == ".onnx":
        build_apart(__file__, model, str(plan), options)
    device = Device(int(options.get("device", 0)))
    free_bytes = device.free_bytes()
    stamp = read_stamp(plan)
    refuse_foreign_plan(plan, stamp, device)
    log = open_log()
    is_compatible = bool(stamp["options"].get(VERSION_COMPATIBLE, False))
    runtime, engine = load_engine(plan.read_bytes(), log, is_compatible, f"{plan.name} cannot be loaded")
    names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
    inputs = [name for name in names if engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT]
    return Session(
        device=device,
        log=log,
        runtime=runtime,
        engine=engine,
        free_bytes=free_bytes,
        stream=ctypes.c_void_p(device.open_stream()),
        is_graph=bool(options.get("graph", False)),
        inputs={name: open_buffer(engine, name) for name in inputs},
        outputs={name: open_buffer(engine, name) for name in names if name not in inputs},
        profiles=[read_ranges(engine, inputs, index) for index in range(max(1, engine.num_optimization_profiles))],
    )


def run(session: Session, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Every output by name, on the host, in the types of the engine's bindings (int32 for int64 in dialect 8).

    Raises RuntimeError for inputs that no profile takes, values that a binding cannot hold, lack of GPU memory, and
    once for a shape of which no graph can be recorded.
    """
    session.device.enter()
    session.log.clear()
    arrays = {name: np.asarray(inputs[name]) for name in session.inputs if name in inputs}
    key = tuple(array.shape for array in arrays.values())
    call = session.calls.get(key)
    is_graph = session.is_graph and call is not None and key not in session.plain
    if call is None:
        call = prepare_call(session, {name: array.shape for name, array in arrays.items()})
    for name, place in call.inputs.items():
        refuse_values(name, arrays[name], place.dtype)
        place[...] = arrays[name]
    try:
        if is_graph and call.graph is None and session.graphs + len(session.plain) < MOST_GRAPHS:
            record_graph(session, call, key)
        if call.graph is not None:
            session.device.call("cuGraphLaunch", call.graph, session.stream)
        else:
            bind_call(session, call)
            enqueue(session, call)
        session.device.call("cuStreamSynchronize", session.stream)
    except Exception:
        abandon_call(session)
        raise
    session.calls[key] = call
    return {name: place.copy() for name, place in call.outputs.items()}


def abandon_call(session: Session) -> None:
    """After a failure: waits for what is on the stream of the call, and has the next one begin from the start."""
    session.bound = None
    with contextlib.suppress(RuntimeError):  # the call's own error is the one to tell
        session.device.call("cuStreamSynchronize", session.stream)


def describe(session: Session) -> dict[str, str]:
    """TensorRT's full version, the GPU's name as "device", and the versions of the driver and the CUDA it offers."""
    facts = session.device.describe()
    return {"tensorrt": find_version(), **{name: facts[name] for name in ("device", "driver", "cuda") if name in facts}}


def device_memory_mib(session: Session) -> float:
    """What the device's free memory has lost since before the engine was loaded: weights, activations, buffers, graphs.

    Another process that takes or frees memory meanwhile counts too.
    """
    session.device.enter()
    free_bytes: int = session.device.free_bytes()
    return max(0, session.free_bytes - free_bytes) / 2**20


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
    context = open_context(session, choose_profile(session.profiles, shapes))
    session.bound = None
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
        session.calls = {key: call for key, call in session.calls.items() if call.graph is not None}
    return Call(
        context,
        shapes,
        {name: buffers[name].view(shape) for name, shape in shapes.items()},
        {name: buffers[name].view(shape) for name, shape in outputs.items()},
    )


def forget_calls(session: Session) -> None:
    """Gives up all that points to the memory of buffers."""
    calls, session.calls, session.graphs, session.bound = session.calls, {}, 0, None
    for call in calls.values():
        if call.graph is not None:
            session.device.call("cuGraphExecDestroy", call.graph)


def set_shapes(session: Session, context: Any, shapes: Mapping[str, tuple[int, ...]]) -> None:
    for name, shape in shapes.items():
        if not context.set_input_shape(name, shape):
            raise RuntimeError(explain(session.log, f"TensorRT refuses the shape {list(shape)} of {name}"))


def bind_call(session: Session, call: Call) -> None:
    """Tells the context shapes and addresses, unless they are what it was told last."""
    if session.bound is call:
        return
    session.bound = None
    set_shapes(session, call.context, call.shapes)
    for buffer in (*session.inputs.values(), *session.outputs.values()):
        call.context.set_tensor_address(buffer.name, buffer.device.value)
    session.bound = call


def enqueue(session: Session, call: Call) -> None:
    """Puts a call on the stream: inputs to the device, kernels, outputs to the host."""
    device, stream = session.device, session.stream
    for name, place in call.inputs.items():
        buffer = session.inputs[name]
        device.call("cuMemcpyHtoDAsync_v2", buffer.device, buffer.host, ctypes.c_size_t(place.nbytes), stream)
    execute(session, call)
    for name, place in call.outputs.items():
        buffer = session.outputs[name]
        device.call("cuMemcpyDtoHAsync_v2", buffer.host, buffer.device, ctypes.c_size_t(place.nbytes), stream)


def execute(session: Session, call: Call) -> None:
    """Puts the kernels alone on the stream."""
    if not call.context.execute_async_v3(session.stream.value):
        raise RuntimeError(explain(session.log, "TensorRT cannot run the engine"))


def record_graph(session: Session, call: Call, key: Any) -> None:
    """Records the call of these shapes. Raises RuntimeError with the reason where something cannot be recorded, and
    notes the shapes: a server would fail at each request of them.

    Where the context ran another shape last, one call goes first: TensorRT prepares in it what cannot be recorded.
    """
    if session.bound is not call:
        bind_call(session, call)
        enqueue(session, call)
        session.device.call("cuStreamSynchronize", session.stream)
    try:
        call.graph = capture(session.device, session.stream, lambda: enqueue(session, call))
    except RuntimeError:
        session.plain.add(key)
        raise
    session.graphs += 1


def main(arguments: Sequence[str]) -> int:
    """`MODEL.onnx PLAN OPTIONS.json`: builds the plan. 1 and a failure as the last line of stderr on an error."""
    if len(arguments) != 3:
        sys.stderr.write("usage: tensorrt_engine.py MODEL.onnx PLAN OPTIONS.json\n")
        return 2
    model, plan, options = arguments
    try:
        facts = build(model, plan, json.loads(Path(options).read_text("utf-8")))
    except Exception as error:
        sys.stderr.write(f"{type(error).__name__}: {' '.join(str(error).split())}\n")
        return 1
    sys.stderr.write(f"{plan}: built in {facts['build_s']:.0f} s by TensorRT {facts['tensorrt']}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
