"""Runtimes: one inference library a file, in the order in which a plan asks them."""

from __future__ import annotations

from collections.abc import Mapping

from packc.errors import PackError
from packc.runtimes.aotinductor import AotInductor
from packc.runtimes.aotinductor_cuda import AotInductorCuda
from packc.runtimes.onnxruntime import OnnxRuntime
from packc.runtimes.onnxruntime_cuda import OnnxRuntimeCuda
from packc.runtimes.onnxruntime_tensorrt import OnnxRuntimeTensorRt
from packc.runtimes.openvino import OpenVino
from packc.runtimes.runtime import Runtime
from packc.runtimes.tensorrt import TensorRt

RUNTIMES: tuple[Runtime, ...] = (
    OnnxRuntime(),
    OpenVino(),
    AotInductor(),
    OnnxRuntimeCuda(),
    OnnxRuntimeTensorRt(),
    TensorRt(),
    AotInductorCuda(),
)

STAND_INS: Mapping[str, str] = {
    "onnxruntime-cuda": "onnxruntime",
    "onnxruntime-tensorrt": "onnxruntime",
    "tensorrt": "onnxruntime",
}
"""A runtime of a device -> the one that judges answers on this machine's CPU while the device is elsewhere: it runs the
same graphs with other kernels, or says that it cannot."""


def find_runtime(name: str) -> Runtime:
    """The runtime called `name`. Raises PackError when there is none."""
    for runtime in RUNTIMES:
        if runtime.name == name:
            return runtime
    raise PackError(f"there is no runtime {name!r}; there are {', '.join(r.name for r in RUNTIMES)}")
