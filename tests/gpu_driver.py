"""A libcuda that has one H200, for tests on machines without a GPU."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from typing import Any

from packc.gpu import INTEGRATED, L2_CACHE_SIZE, MAJOR, MINOR, MULTIPROCESSORS, Gpu

MEMORY_BYTES = 150_109_880_320
CACHE_BYTES = 50 * 2**20
ATTRIBUTES = {MULTIPROCESSORS: 132, INTEGRATED: 0, L2_CACHE_SIZE: CACHE_BYTES, MAJOR: 9, MINOR: 0}
H200 = Gpu("NVIDIA H200", "9.0", 132, MEMORY_BYTES, False, "570.86.15", False, 0, CACHE_BYTES)


@dataclass
class StubDriver:
    """`status` is what cuInit returns: 0, or an error such as 100, no device."""

    status: int = 0

    def cuInit(self, flags: int) -> int:  # noqa: N802 - as libcuda has it, and so are those below
        return self.status

    def cuDeviceGet(self, device: Any, ordinal: int) -> int:  # noqa: N802
        return 0

    def cuDeviceGetName(self, buffer: ctypes.Array[ctypes.c_char], size: int, device: Any) -> int:  # noqa: N802
        buffer.value = b"NVIDIA H200"
        return 0

    def cuDeviceGetPCIBusId(self, buffer: ctypes.Array[ctypes.c_char], size: int, device: Any) -> int:  # noqa: N802
        buffer.value = b"0000:1B:00.0"
        return 0

    def cuDeviceTotalMem_v2(self, size: Any, device: Any) -> int:  # noqa: N802
        size._obj.value = MEMORY_BYTES
        return 0

    def cuDeviceGetAttribute(self, value: Any, attribute: int, device: Any) -> int:  # noqa: N802
        value._obj.value = ATTRIBUTES[attribute]
        return 0
