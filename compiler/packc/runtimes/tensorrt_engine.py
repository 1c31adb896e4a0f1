"""Runs TensorRT engines, for the runner of a job bundle, and builds them from a command line.

packc.jobs.job has the contract. Copied into bundles as engine.py, with its other files (ENGINE_FILES of
packc.runtimes.tensorrt_python) beside it, so it imports nothing of packc: Python 3.8, numpy and tensorrt.

A call takes arrays of the host and gives arrays of the host, as a server's does, so that its time has both copies in
it. Where `graph` is set, a shape that comes several times in a row gets a CUDA graph, one launch for copies and
kernels, until another shape comes. Where recording fails, the call fails by that name, and no graph is recorded any
more.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import sys
from collections.abc import Mapping, Sequence
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
from tensorrt_driver import Device, capture  # type: ignore[import-not-found]  # noqa: E402
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
from tensorrt_profiles import read_ranges, refuse_values  # type: ignore[import-not-found]  # noqa: E402
from tensorrt_session import (  # type: ignore[import-not-found]  # noqa: E402
    Call,
    Session,
    bind_call,
    prepare_call,
    unbind,
)

CALLS_BEFORE_GRAPH = 2
"""Calls of a shape in a row, after which it gets a graph: TensorRT does in the first what cannot be recorded. Recording
takes as long as several calls, and in mixed requests the next shape undoes it."""


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
    once where no graph can be recorded.
    """
    session.device.enter()
    session.log.clear()
    arrays = {name: np.asarray(inputs[name]) for name in session.inputs if name in inputs}
    key = tuple(array.shape for array in arrays.values())
    for name, array in arrays.items():
        refuse_values(name, array, session.inputs[name].dtype)
    call = session.calls.get(key)
    if call is None:
        call = session.calls[key] = prepare_call(session, {name: array.shape for name, array in arrays.items()})
    for name, place in call.inputs.items():
        place[...] = arrays[name]
    try:
        bind_call(session, call)
        if session.is_graph and call.graph is None and call.repeats >= CALLS_BEFORE_GRAPH:
            record_graph(session, call)
        if call.graph is not None:
            session.device.call("cuGraphLaunch", call.graph, session.stream)
        else:
            enqueue(session, call)
        session.device.call("cuStreamSynchronize", session.stream)
    except Exception:
        abandon_call(session, call)
        raise
    call.repeats += 1
    return {name: place.copy() for name, place in call.outputs.items()}


def abandon_call(session: Session, call: Call) -> None:
    """After a failure: waits for what is on the stream of the call, and has the next one begin from the start."""
    with contextlib.suppress(RuntimeError):  # the call's own error is the one to tell
        session.device.call("cuStreamSynchronize", session.stream)
    with contextlib.suppress(RuntimeError):
        unbind(session, call.profile)


def describe(session: Session) -> dict[str, str]:
    """TensorRT's full version, the GPU's name as "device", and the versions of the driver and the CUDA it offers."""
    facts = session.device.describe()
    return {"tensorrt": find_version(), **{name: facts[name] for name in ("device", "driver", "cuda") if name in facts}}


def device_memory_mib(session: Session) -> float:
    """What the device's free memory has lost since before the engine was loaded: weights, activations, buffers, graphs.

    Another process that takes or frees memory meanwhile counts too.
    """
    session.device.enter()
    return float(max(0, session.free_bytes - session.device.free_bytes())) / 2**20


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
    if not session.contexts[call.profile].execute_async_v3(session.stream.value):
        raise RuntimeError(explain(session.log, "TensorRT cannot run the engine"))


def record_graph(session: Session, call: Call) -> None:
    """Records what a call does, after whole calls of it: TensorRT does in the first what cannot be recorded.

    Raises RuntimeError with the reason where something cannot be recorded, and tries no more: a server would fail again
    and again.
    """
    try:
        call.graph = capture(session.device, session.stream, lambda: enqueue(session, call))
    except RuntimeError:
        session.is_graph = False
        raise


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
