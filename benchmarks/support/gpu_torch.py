"""Rows of PyTorch in fp16: as it is, and compiled, with the channels last too where the model is convolutional."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import torch

from packc.runtimes.runtime import is_transformer
from support.gpu_models import Arrays, Encoder, GpuModel
from support.gpu_rows import WARMUP, Failure, Row, explain, log, measure_error

COMPILED = "torch.compile"
"""How the names of compiled rows begin."""
LAYOUTS = {"": torch.contiguous_format, ", channels last": torch.channels_last}


def forbid_tf32() -> None:
    """In products and in convolutions of the whole process."""
    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.allow_tf32 = False


def list_torch(
    model: GpuModel, encoder: Encoder, inputs: Arrays, expected: np.ndarray, skip_compile: bool
) -> list[Row | Failure]:
    """All of them, warm at the shape of `inputs`, with convolutions that cuDNN chose by timing them."""
    torch.backends.cudnn.benchmark = True
    torch.compiler.reset()
    rows: list[Row | Failure] = []
    layouts = list(LAYOUTS.items())[: 1 if is_transformer(model.describe()) else 2]
    for words, layout in layouts:
        eager = model.build("sdpa", encoder.state_dict()).half().cuda().to(memory_format=layout)
        rows.append(_warm(f"torch eager, fp16{words}", eager, inputs, layout, expected))
        if not skip_compile:
            compiled = torch.compile(eager, mode="reduce-overhead", dynamic=False)
            rows.append(_warm(f"{COMPILED} reduce-overhead, fp16{words}", compiled, inputs, layout, expected))
    if not skip_compile:
        name = f"our CUDA graph around {COMPILED} with frozen weights, fp16{words}"
        rows.append(_warm_graph(name, torch.compile(eager, dynamic=False), inputs, layout, expected))
    return rows


def _warm_graph(name: str, module: Any, inputs: Arrays, layout: Any, expected: np.ndarray) -> Row | Failure:
    """What torch.compile does as pack goes about it: weights as constants, and one CUDA graph around it all."""
    started = time.perf_counter()
    static = to_device(inputs, torch.float16, layout)
    stream, graph = torch.cuda.Stream(), torch.cuda.CUDAGraph()
    try:
        with torch._inductor.config.patch(freezing=True), torch.no_grad(), torch.cuda.stream(stream):
            for _ in range(3):
                module(*static)
            torch._C._cuda_clearCublasWorkspaces()  # the graph takes one of its own, which nobody else frees
            with torch.cuda.graph(graph, stream=stream):
                output = module(*static)[0]
            torch._C._cuda_clearCublasWorkspaces()
    except Exception as error:
        return explain(name, error)

    def work() -> None:
        graph.replay()
        torch.cuda.synchronize()

    def call() -> np.ndarray:
        for place, tensor in zip(static, to_device(inputs, torch.float16, layout), strict=True):
            place.copy_(tensor)
        graph.replay()
        return output.float().cpu().numpy()

    answer = call()
    log(f"{name}: warm after {time.perf_counter() - started:.0f} s")
    return Row(name, False, "fp16", call, work, measure_error(answer, expected), is_trick=True)


def _warm(name: str, module: Any, inputs: Arrays, layout: Any, expected: np.ndarray) -> Row | Failure:
    started = time.perf_counter()
    on_device = to_device(inputs, torch.float16, layout)

    def work() -> None:
        with torch.inference_mode():
            module(*on_device)
        torch.cuda.synchronize()

    try:
        for _ in range(WARMUP):
            answer = call_torch(module, inputs, torch.float16, layout)
            work()
    except Exception as error:
        return explain(name, error)
    log(f"{name}: warm after {time.perf_counter() - started:.0f} s")
    call = lambda: call_torch(module, inputs, torch.float16, layout)  # noqa: E731
    return Row(name, False, "fp16", call, work, measure_error(answer, expected))


def call_torch(
    module: Any, inputs: Arrays, dtype: torch.dtype, layout: torch.memory_format = torch.contiguous_format
) -> np.ndarray:
    """Host arrays in, a host array out."""
    with torch.inference_mode():
        return module(*to_device(inputs, dtype, layout))[0].float().cpu().numpy()


def to_device(inputs: Arrays, dtype: torch.dtype, layout: torch.memory_format) -> list[torch.Tensor]:
    tensors = [torch.from_numpy(array).cuda() for array in inputs.values()]
    cast = [tensor.to(dtype) if tensor.is_floating_point() else tensor for tensor in tensors]
    return [tensor.contiguous(memory_format=layout) if tensor.dim() == 4 else tensor for tensor in cast]
