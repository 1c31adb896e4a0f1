"""A libcuda whose device memory is the host's: streams run when they are waited for, captures are kept and replayed."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from gpu_driver import StubDriver

STREAM = 7
OUT_OF_MEMORY, CAPTURE_INVALIDATED, INVALID = 2, 901, 1
ERROR_NAMES = {
    100: b"CUDA_ERROR_NO_DEVICE",
    901: b"CUDA_ERROR_STREAM_CAPTURE_INVALIDATED",
    1: b"CUDA_ERROR_INVALID_VALUE",
}

Work = Callable[[], None]


@dataclass
class StubCuda(StubDriver):
    """`free_bytes` and `host_bytes` are what can be allocated; `breaks_captures` has every capture end as invalid, and
    `breaks_graphs` has none of them made ready."""

    free_bytes: int = 2**30
    host_bytes: int = 2**30
    breaks_captures: bool = False
    breaks_graphs: bool = False
    memory: dict[int, Any] = field(default_factory=dict)
    pending: list[tuple[str, Work]] = field(default_factory=list)
    captured: list[tuple[str, Work]] | None = None
    graphs: dict[int, list[tuple[str, Work]]] = field(default_factory=dict)
    done: list[str] = field(default_factory=list)
    """What ran, in order: "to device", "execute", "to host", "launch"."""

    def submit(self, what: str, work: Work) -> None:
        """Puts work on the stream, or into the graph that is captured."""
        (self.pending if self.captured is None else self.captured).append((what, work))

    def array_at(self, address: int, size: int) -> Any:
        """The memory of an allocation; an error where it has been freed or is shorter."""
        assert ctypes.sizeof(self.memory[address]) >= size
        return self.memory[address]

    def cuDevicePrimaryCtxRetain(self, context: Any, device: Any) -> int:  # noqa: N802 - as libcuda has it
        context._obj.value = 1
        return 0

    def cuCtxSetCurrent(self, context: Any) -> int:  # noqa: N802
        return 0 if context.value == 1 else INVALID

    def cuDriverGetVersion(self, version: Any) -> int:  # noqa: N802
        version._obj.value = 13000
        return 0

    def cuGetErrorName(self, status: int, name: Any) -> int:  # noqa: N802
        name._obj.value = ERROR_NAMES[status]
        return 0

    def cuMemGetInfo_v2(self, free: Any, total: Any) -> int:  # noqa: N802
        free._obj.value = self.free_bytes
        return 0

    def allocate(self, pointer: Any, size: Any) -> int:
        memory = (ctypes.c_byte * size.value)()
        pointer._obj.value = ctypes.addressof(memory)
        self.memory[ctypes.addressof(memory)] = memory
        return 0

    def cuMemAlloc_v2(self, pointer: Any, size: Any) -> int:  # noqa: N802
        if size.value > self.free_bytes:
            return OUT_OF_MEMORY
        self.free_bytes -= size.value
        return self.allocate(pointer, size)

    def cuMemHostAlloc(self, pointer: Any, size: Any, flags: int) -> int:  # noqa: N802
        if size.value > self.host_bytes:
            return OUT_OF_MEMORY
        self.host_bytes -= size.value
        return self.allocate(pointer, size)

    def free(self, pointer: Any) -> int:
        """The size of what is free again."""
        assert not self.pending, "memory was freed that the stream may use"
        return ctypes.sizeof(self.memory.pop(pointer.value))

    def cuMemFree_v2(self, pointer: Any) -> int:  # noqa: N802
        self.free_bytes += self.free(pointer)
        return 0

    def cuMemFreeHost(self, pointer: Any) -> int:  # noqa: N802
        self.host_bytes += self.free(pointer)
        return 0

    def copy(self, what: str, target: int, source: int, size: int) -> int:
        def work() -> None:
            ctypes.memmove(self.array_at(target, size), self.array_at(source, size), size)

        self.submit(what, work)
        return 0

    def cuMemcpyHtoDAsync_v2(self, target: Any, source: Any, size: Any, stream: Any) -> int:  # noqa: N802
        return self.copy("to device", target.value, source.value, size.value)

    def cuMemcpyDtoHAsync_v2(self, target: Any, source: Any, size: Any, stream: Any) -> int:  # noqa: N802
        return self.copy("to host", target.value, source.value, size.value)

    def cuStreamCreate(self, stream: Any, flags: int) -> int:  # noqa: N802
        stream._obj.value = STREAM
        return 0

    def cuStreamSynchronize(self, stream: Any) -> int:  # noqa: N802
        assert stream.value == STREAM
        for what, work in self.pending:
            work()
            self.done.append(what)
        self.pending.clear()
        return 0

    def cuStreamBeginCapture_v2(self, stream: Any, mode: int) -> int:  # noqa: N802
        assert not self.pending
        self.captured = []
        return 0

    def cuStreamEndCapture(self, stream: Any, graph: Any) -> int:  # noqa: N802
        captured, self.captured = self.captured, None
        assert captured is not None, "no capture was begun"
        if self.breaks_captures:
            return CAPTURE_INVALIDATED
        graph._obj.value = 1000 + len(self.graphs)
        self.graphs[graph._obj.value] = captured
        return 0

    def cuGraphInstantiateWithFlags(self, executable: Any, graph: Any, flags: Any) -> int:  # noqa: N802
        if self.breaks_graphs:
            return OUT_OF_MEMORY
        executable._obj.value = graph.value + 1000
        self.graphs[executable._obj.value] = self.graphs[graph.value]
        return 0

    def cuGraphDestroy(self, graph: Any) -> int:  # noqa: N802
        self.graphs[graph.value] = []
        return 0

    def cuGraphExecDestroy(self, executable: Any) -> int:  # noqa: N802
        del self.graphs[executable.value]
        return 0

    def cuGraphLaunch(self, executable: Any, stream: Any) -> int:  # noqa: N802
        captured = self.graphs[executable.value]
        self.pending.append(("launch", lambda: [work() for _, work in captured] and None))
        return 0
