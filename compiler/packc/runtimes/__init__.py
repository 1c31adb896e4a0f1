"""Runtimes: one inference library a file, in the order in which a plan asks them."""

from __future__ import annotations

from packc.errors import PackError
from packc.runtimes.onnxruntime import OnnxRuntime
from packc.runtimes.onnxruntime_cuda import OnnxRuntimeCuda
from packc.runtimes.openvino import OpenVino
from packc.runtimes.runtime import Runtime

RUNTIMES: tuple[Runtime, ...] = (OnnxRuntime(), OpenVino(), OnnxRuntimeCuda())


def find_runtime(name: str) -> Runtime:
    """The runtime called `name`. Raises PackError when there is none."""
    for runtime in RUNTIMES:
        if runtime.name == name:
            return runtime
    raise PackError(f"there is no runtime {name!r}; there are {', '.join(r.name for r in RUNTIMES)}")
