"""A torch whose GPU is the CPU's memory, for tests of the engine on machines without one. What it computes is 2 x."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import torch


@dataclass
class StubGraph:
    """Does again what was done while it was recorded, into the same outputs."""

    again: Callable[[], None] = lambda: None
    replays: int = 0

    def replay(self) -> None:
        self.replays += 1
        self.again()


@dataclass
class StubLoader:
    """A package with one input and one output. Calls raise `failure`, and are refused memory `refused` times."""

    failure: Exception | None = None
    refused: int = 0
    ooms: int = 0
    recording: StubGraph | None = None
    calls: list[str] = field(default_factory=list)

    def boxed_run(self, tensors: list[Any]) -> list[Any]:
        (given,) = tensors
        tensors.clear()
        self.calls.append("record" if self.recording else "run")
        self.ooms += self.refused
        if self.failure:
            raise self.failure
        output = given * 2
        if self.recording:
            output.zero_()  # a recording computes nothing
            self.recording.again = lambda: output.copy_(given * 2)
        return [output]


class LateTensor(torch.Tensor):
    """Memory that the GPU writes by itself: what is copied there is there when the stream was waited for."""

    stream_work: list[Callable[[], Any]]

    def copy_(self, source: Any, non_blocking: bool = False) -> Any:
        assert non_blocking
        self.stream_work.append(lambda: torch.Tensor.copy_(self, source))
        return self


class StubTorch:
    """torch, but for its GPU."""

    def __init__(self, version: str = "2.11.0+cu130", cuda: str | None = "13.0", capability: tuple[int, int] = (9, 0)):
        self.__version__, self.version = version, SimpleNamespace(cuda=cuda)
        self.loader, self.loaded, self.streams, self.counted = StubLoader(), [], 0, 0
        self.free_bytes = 10 * 2**30
        self.stream_work: list[Callable[[], Any]] = []
        self.backends = SimpleNamespace(cudnn=SimpleNamespace(allow_tf32=None, benchmark=None))
        self.precision = ""
        self._C = SimpleNamespace(
            _aoti=SimpleNamespace(AOTIModelPackageLoader=self.open_package),
            _cuda_clearCublasWorkspaces=lambda: self.loader.calls.append("clear"),
        )
        self.cuda = SimpleNamespace(
            is_available=lambda: True,
            get_device_capability=lambda device: capability,
            get_device_name=lambda device: "NVIDIA H200",
            mem_get_info=lambda device: (self.free_bytes, 20 * 2**30),
            memory_stats=self.count_memory,
            Stream=lambda device: SimpleNamespace(synchronize=self.finish_work),
            stream=self.use_stream,
            graph_pool_handle=lambda: (0, 1),
            CUDAGraph=StubGraph,
            graph=self.record,
        )

    def __getattr__(self, name: str) -> Any:
        return getattr(torch, name)

    def open_package(self, *arguments: Any) -> StubLoader:
        self.loaded = list(arguments)
        self.free_bytes -= 2**30
        return self.loader

    def count_memory(self, device: int) -> dict[str, int]:
        self.counted += 1
        return {"num_ooms": self.loader.ooms}

    def set_num_threads(self, threads: int) -> None:
        """Not this process's."""

    def set_float32_matmul_precision(self, precision: str) -> None:
        self.precision = precision

    def empty(self, size: Any, *, dtype: Any, pin_memory: bool = False, device: str = "cpu") -> Any:
        assert pin_memory == (device == "cpu")
        return torch.empty(size, dtype=dtype)

    def empty_like(self, tensor: Any, *, device: str, pin_memory: bool) -> Any:
        assert (device, pin_memory) == ("cpu", True)
        late = torch.zeros_like(tensor).as_subclass(LateTensor)
        late.stream_work = self.stream_work
        return late

    def finish_work(self) -> None:
        for work in self.stream_work:
            work()
        self.stream_work.clear()

    @contextmanager
    def use_stream(self, stream: Any) -> Iterator[None]:
        self.streams += 1
        yield

    @contextmanager
    def record(self, graph: StubGraph, pool: Any, stream: Any, capture_error_mode: str) -> Iterator[None]:
        assert capture_error_mode == "thread_local"
        self.loader.recording = graph
        try:
            yield
        finally:
            self.loader.recording = None
