"""Clocks, power and temperature through a stub of NVML; through the real one where there is a GPU."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

import pytest
from pydantic import TypeAdapter

from gpu_driver import StubDriver
from packc.jobs.gpu_state import CLOCK_SM, CUDA, Watched, open_gpu, read_state
from packc.jobs.job import GpuState

POWER_CAP, IDLE, HOT = 0x04, 0x01, 0x60


class StubNvml:
    """A GPU at 1,980 MHz that is held back for `reasons`; without `has_new_name` it is one of an older driver."""

    def __init__(self, reasons: int = 0, *, knows_bus: bool = True, has_new_name: bool = True) -> None:
        self.reasons, self.knows_bus = reasons, knows_bus
        name = "nvmlDeviceGetCurrentClocksEventReasons" if has_new_name else "nvmlDeviceGetCurrentClocksThrottleReasons"
        setattr(self, name, self._tell_reasons)
        self.asked: list[bytes] = []

    def nvmlInit_v2(self) -> int:  # noqa: N802 - as NVML has it, and so are those below
        return 0

    def nvmlDeviceGetHandleByPciBusId_v2(self, bus: Any, handle: Any) -> int:  # noqa: N802
        self.asked.append(bus.value)
        return 0 if self.knows_bus else 6

    def nvmlDeviceGetClockInfo(self, handle: Any, kind: int, value: Any) -> int:  # noqa: N802
        value._obj.value = 1980 if kind == CLOCK_SM else 3201
        return 0

    def nvmlDeviceGetPowerUsage(self, handle: Any, value: Any) -> int:  # noqa: N802
        value._obj.value = 310_400
        return 0

    def nvmlDeviceGetTemperature(self, handle: Any, sensor: int, value: Any) -> int:  # noqa: N802
        return 3  # not supported

    def _tell_reasons(self, handle: Any, value: Any) -> int:
        value._obj.value = self.reasons
        return 0


def load(nvml: StubNvml, driver: StubDriver | None = None) -> Callable[[str], Any]:
    return lambda name: (driver or StubDriver()) if name == CUDA else nvml


def read(nvml: StubNvml) -> GpuState:
    gpu = open_gpu(0, load(nvml))
    assert gpu is not None
    return TypeAdapter(GpuState).validate_python(read_state(gpu))


def test_nvml_tells_how_the_gpu_runs() -> None:
    nvml = StubNvml()
    assert read(nvml) == GpuState(1980, 3201, 310.4, None, ())
    assert nvml.asked == [b"0000:1B:00.0"], "the one that CUDA uses, whatever NVML numbers it"


@pytest.mark.parametrize("has_new_name", [True, False])
def test_what_holds_the_clocks_back_has_a_name(has_new_name: bool) -> None:
    assert read(StubNvml(POWER_CAP | IDLE, has_new_name=has_new_name)).limits == ("power cap",)
    assert read(StubNvml(HOT, has_new_name=has_new_name)).limits == ("temperature",)
    assert read(StubNvml(IDLE, has_new_name=has_new_name)).limits == ()


def test_where_nobody_tells_nothing_is_said() -> None:
    def lack(name: str) -> Any:
        raise OSError(name)

    assert open_gpu(0, lack) is None
    assert open_gpu(0, load(StubNvml(), StubDriver(status=100))) is None
    assert open_gpu(0, load(StubNvml(knows_bus=False))) is None
    assert open_gpu(0, lambda name: StubDriver() if name == CUDA else object()) is None


def test_a_library_that_lacks_every_function_tells_nothing() -> None:
    empty = Watched(object(), ctypes.c_void_p())
    assert TypeAdapter(GpuState).validate_python(read_state(empty)) == GpuState(None, None, None, None, None)


def test_what_no_query_answers_is_not_known() -> None:
    """An empty list would say that nothing holds the GPU back."""
    nvml = StubNvml(POWER_CAP)
    nvml.nvmlDeviceGetCurrentClocksEventReasons = lambda handle, value: 3  # not supported
    assert read(nvml) == GpuState(1980, 3201, 310.4, None, None)


@pytest.mark.gpu
def test_this_machines_gpu_tells_its_clock() -> None:
    gpu = open_gpu(0)
    if gpu is None:
        pytest.skip("no NVML")
    state = TypeAdapter(GpuState).validate_python(read_state(gpu))
    assert state.sm_mhz is None or 100 < state.sm_mhz < 5000
    assert state.power_w is None or 1 < state.power_w < 2000
