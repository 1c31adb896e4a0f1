"""Runs an AOTInductor package on an NVIDIA GPU, for the runner of a job bundle; packc.jobs.job has the contract.

Copied into bundles and packages as engine.py, with aotinductor_cuda_facts.py beside it, so it imports nothing of packc.

A call takes arrays of the host and gives arrays of the host, as a server's does, so that its time has both copies in
it. Small inputs of a call go over in one copy, through memory that the GPU reads by itself; the driver is faster with
large ones. Outputs come back into such memory, and all but small ones are given to the caller in it. Where `graph` is
set, the second call of a shape records a CUDA graph, one launch for all kernels, and later calls replay it from and
into the same buffers.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

os.environ.setdefault("AOTI_RUNTIME_CHECK_INPUTS", "1")  # a tensor of another shape is an error, not a wild read

import torch  # noqa: TID253 - this file runs in bundles, whose purpose is torch
from aotinductor_cuda_facts import (  # type: ignore[import-not-found]
    DEVICE,
    Facts,
    check_device,
    find_version,
    read_facts,
)

ALIGNMENT = 256
"""Bytes that every input's place in the buffer is a multiple of, as the allocator's own are."""
LARGE_BYTES = 2**20
"""From here on, an input is copied by the driver, which stages a part while another is on its way."""
HANDED_BYTES = 2**16
"""From here on, an output gets memory of its own, which the GPU writes by itself: copying it would take longer than
asking the allocator, which gives that of answers that nobody holds any more."""
MOST_GRAPHS = 64
"""Recorded graphs at most; further shapes run kernel by kernel."""
MOST_SHAPES = 256
"""Shapes that buffers are kept for, at most, beside those of recorded graphs."""
MOST_LOOSE_BYTES = 2**28
"""Of the GPU's memory, in buffers of shapes without a graph; the last shape's are kept even where they alone are more.
Requests bring shapes that no job has measured the memory of."""


@dataclass(slots=True)
class Bound:
    """Buffers for one shape of the inputs, and the graph that was recorded for it."""

    host: Any
    """Bytes that the GPU copies by itself; `places` are its parts as arrays, one an input, and None for large ones."""
    places: list[Any]
    device: Any
    """As many bytes on the GPU; `inputs` are its parts as tensors, and tensors of their own for large ones."""
    inputs: list[Any]
    graph: Any = None
    outputs: list[Any] = field(default_factory=list)
    """What the recorded graph writes, on the GPU."""
    answers: list[Any] = field(default_factory=list)
    """Memory on the host that the GPU writes by itself, for small outputs of every call; None for others."""


@dataclass(slots=True)
class Session:
    """A loaded package and what was prepared for each shape."""

    loader: Any
    facts: Facts
    is_graph: bool
    free_bytes: int
    """Of the GPU's memory before the package was loaded."""
    stream: Any
    pool: Any
    """Memory that all recorded graphs share: only one runs at a time."""
    refused: int
    """How often the allocator had had no memory to give, at last sight: counting takes longer than a short call."""
    bound: dict[tuple[Any, ...], Bound] = field(default_factory=dict)
    """Of shapes that have had a whole call: in it, libraries do what cannot be recorded."""
    graphs: int = 0
    is_recordable: bool = True
    """Until a recording has failed: PyTorch may never record into the memory of graphs again then."""


def load(model: str, options: Mapping[str, Any], threads: int) -> Session:
    """The package at `model`, on the first GPU that this process may use, with `threads` threads of the host.

    Options, both false by default: `graph` records CUDA graphs; `tf32` has libraries compute fp32 products with 10 bits
    of mantissa. Convolutions are timed in the first call of a shape, and the fastest kernel is kept. Raises
    RuntimeError where the package would crash: in another torch than compiled it, on another kind of GPU, without one,
    or without the memory.
    """
    facts = read_facts(model)
    check_device(facts)
    torch.set_num_threads(threads)
    warnings.filterwarnings("ignore", "The given NumPy array is not writable")  # nothing writes to inputs
    is_tf32 = bool(options.get("tf32", False))
    torch.set_float32_matmul_precision("high" if is_tf32 else "highest")
    torch.backends.cudnn.allow_tf32 = is_tf32
    torch.backends.cudnn.benchmark = True
    free_bytes, _ = torch.cuda.mem_get_info(DEVICE)
    refused = count_refused()
    try:
        # alone in its thread, as the model's own bookkeeping of several cannot be recorded
        loader = torch._C._aoti.AOTIModelPackageLoader(model, "model", True, 1, DEVICE)
        stream, pool = torch.cuda.Stream(DEVICE), torch.cuda.graph_pool_handle()
    except RuntimeError as error:
        tell_lack(error, count_refused() > refused, is_certain=True)
        raise
    return Session(loader, facts, bool(options.get("graph", False)), free_bytes, stream, pool, count_refused())


def run(session: Session, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Every output of the model by name, on the host; the arrays are the caller's own.

    Raises RuntimeError for tensors that do not fit, when memory runs out, and once where no graph can be recorded: no
    other shape gets one from then on.
    """
    arrays = [np.ascontiguousarray(inputs[name]) for name in session.facts.inputs]
    key = tuple((array.shape, array.dtype.str) for array in arrays)
    bound = session.bound.get(key)
    is_new, is_recorded = bound is None, bound is not None and is_to_record(session, bound)
    try:
        with torch.inference_mode(), torch.cuda.stream(session.stream):
            if bound is None:
                forget_oldest(session, sum(array.nbytes for array in arrays))
                bound = bind_inputs(arrays)
            send_inputs(bound, arrays)
            if is_recorded:
                record_graph(session, bound)
            outputs = compute(session, bound)
            answers = fetch_outputs(session, bound, outputs)
    except RuntimeError as error:
        before, session.refused = session.refused, count_refused()
        tell_lack(error, session.refused > before, is_certain=is_new or is_recorded)
        raise
    if is_new:  # when libraries try kernels, and go on with less memory where there is none
        session.bound[key] = bound
        session.refused = count_refused()
    return dict(zip(session.facts.outputs, answers, strict=True))


def send_inputs(bound: Bound, arrays: list[Any]) -> None:
    """Copies the inputs to the GPU; on the stream, and the arrays are read before it returns."""
    for place, tensor, array in zip(bound.places, bound.inputs, arrays, strict=True):
        if place is None:
            tensor.copy_(torch.from_numpy(array), non_blocking=True)
        else:
            np.copyto(place, array)
    bound.device.copy_(bound.host, non_blocking=True)


def fetch_outputs(session: Session, bound: Bound, outputs: list[Any]) -> list[Any]:
    """The outputs as arrays of the caller's own, once they are ready."""
    if not bound.answers:
        bound.answers = [make_answer(output) if output.nbytes < HANDED_BYTES else None for output in outputs]
    answers = [make_answer(o) if kept is None else kept for kept, o in zip(bound.answers, outputs, strict=True)]
    for answer, output in zip(answers, outputs, strict=True):
        answer.copy_(output, non_blocking=True)
    session.stream.synchronize()
    kept_answers = zip(bound.answers, answers, strict=True)
    return [answer.numpy() if kept is None else answer.numpy().copy() for kept, answer in kept_answers]


def make_answer(output: Any) -> Any:
    """Memory on the host for an output, which the GPU writes by itself."""
    return torch.empty_like(output, device="cpu", pin_memory=True)


def is_large(array: Any) -> bool:
    """Whether an input is copied by the driver."""
    return bool(array.nbytes >= LARGE_BYTES)


def compute(session: Session, bound: Bound) -> list[Any]:
    """The outputs on the GPU, of the inputs that are there; on the stream, so they need not be ready yet."""
    if bound.graph is None:
        return list(session.loader.boxed_run(list(bound.inputs)))  # which empties the list that it is given
    bound.graph.replay()
    return bound.outputs


def bind_inputs(arrays: list[Any]) -> Bound:
    """Buffers for inputs like these."""
    starts, size = [], 0
    for array in arrays:
        starts.append(size)
        size += 0 if is_large(array) else -(-array.nbytes // ALIGNMENT) * ALIGNMENT
    host = torch.empty(size, dtype=torch.uint8, pin_memory=True)
    device = torch.empty(size, dtype=torch.uint8, device=f"cuda:{DEVICE}")
    places: list[Any] = []
    tensors: list[Any] = []
    for array, start in zip(arrays, starts, strict=True):
        part = slice(start, start + array.nbytes)
        dtype = torch.from_numpy(np.empty(0, array.dtype)).dtype
        if is_large(array):
            places.append(None)
            tensors.append(torch.empty(array.shape, dtype=dtype, device=f"cuda:{DEVICE}"))
            continue
        places.append(host.numpy()[part].view(array.dtype).reshape(array.shape))
        tensors.append(device[part].view(dtype).view(array.shape))
    return Bound(host, places, device, tensors)


def forget_oldest(session: Session, needed_bytes: int) -> None:
    """Makes room for the buffers of one more shape; those of a recorded graph stay, as it reads and writes them."""
    loose = {key: sum(t.nbytes for t in bound.inputs) for key, bound in session.bound.items() if bound.graph is None}
    count, kept_bytes = len(loose), sum(loose.values())
    for key, own_bytes in loose.items():
        if count < MOST_SHAPES and kept_bytes + needed_bytes <= MOST_LOOSE_BYTES:
            break
        del session.bound[key]
        count, kept_bytes = count - 1, kept_bytes - own_bytes


def is_to_record(session: Session, bound: Bound) -> bool:
    """Whether a shape that has had a whole call gets a graph now."""
    return session.is_graph and session.is_recordable and bound.graph is None and session.graphs < MOST_GRAPHS


def record_graph(session: Session, bound: Bound) -> None:
    """Records what a call does on the GPU, without doing it. Raises RuntimeError where that cannot be.

    cuBLAS keeps a workspace for each stream, which others may have freed while the graph still writes to it: PyTorch's
    own CUDA graphs do. So it is dropped before, to be taken anew from the memory of the graphs, and after, to stay
    theirs.
    """
    graph = torch.cuda.CUDAGraph()
    torch._C._cuda_clearCublasWorkspaces()
    try:
        with torch.cuda.graph(graph, session.pool, session.stream, capture_error_mode="thread_local"):
            bound.outputs = list(session.loader.boxed_run(list(bound.inputs)))
    except RuntimeError as error:
        session.is_recordable, bound.outputs = False, []
        raise RuntimeError(f"capture failed: {first_line(error)}") from error
    finally:
        torch._C._cuda_clearCublasWorkspaces()
    bound.graph = graph
    session.graphs += 1


def describe(session: Session) -> dict[str, str]:
    """The GPU's name as "device"; the versions of torch, of the CUDA that it was built with, and of the driver."""
    facts = {"torch": find_version(), "cuda": str(torch.version.cuda), "device": torch.cuda.get_device_name(DEVICE)}
    try:
        driver = Path("/proc/driver/nvidia/version").read_text("utf-8").split("Kernel Module")[1].split()
        facts["driver"] = next(word for word in driver if word[0].isdigit())
    except (OSError, IndexError, StopIteration):  # what a system does not tell is left out
        pass
    return facts


def device_memory_mib(session: Session) -> float:
    """What the GPU's free memory has lost since before the package was loaded: weights, workspace and graphs.

    PyTorch keeps most of what it once took; another process that takes or frees memory meanwhile counts too. The CUDA
    context itself does not.
    """
    free_bytes, _ = torch.cuda.mem_get_info(DEVICE)
    return float(max(0, session.free_bytes - free_bytes)) / 2**20


def tell_lack(error: RuntimeError, was_refused: bool, *, is_certain: bool) -> None:
    """Raises RuntimeError, one line, where memory was lacking. Programs hide why they failed; the allocator tells.

    Unless it `is_certain` that what was refused was refused in this very call, the error is told beside the lack.
    """
    is_lack = "out of memory" in str(error)
    if not was_refused and not is_lack:
        return
    free, total = torch.cuda.mem_get_info(DEVICE)
    lack = f"{torch.cuda.get_device_name(DEVICE)} has {total / 2**20:.0f} MiB, of which {free / 2**20:.0f} are free"
    if is_lack or is_certain:
        raise RuntimeError(f"out of memory: {lack}") from error
    raise RuntimeError(f"{first_line(error)}; memory was refused in this call or one before it: {lack}") from error


def count_refused() -> int:
    """How often the allocator had no memory to give: also where a library asked, and went on with less."""
    return int(torch.cuda.memory_stats(DEVICE).get("num_ooms", 0))


def first_line(error: Exception) -> str:
    """The first line of a message that says something."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
