"""ONNX Runtime on NVIDIA GPUs through its provider for TensorRT, which builds an engine whenever it loads a model.

Which TensorRT a build of ONNX Runtime needs is in its provider's library, as the names of what that links.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from packc.candidate import Candidate, OptionValue, Rejection
from packc.ingest.source import SourceInfo
from packc.runtimes.onnxruntime_cuda import CLEAN, FP16, INSTALL, OnnxRuntimeCuda
from packc.spec.optimize import TensorRtSection
from packc.target import Target
from packc.tensors import InputRange, Precision

PROVIDER_FILE = "capi/libonnxruntime_providers_tensorrt.so"
LIBRARY = re.compile(rb"libnvinfer\.so\.\d+")
ASK_LIMIT_S = 60.0
OPEN = "import ctypes, sys; ctypes.CDLL(sys.argv[1])"

ACCELERATOR = "tensorrt"
"""What Triton's onnxruntime backend calls the provider, and the option of the engine that asks for it."""
LEAST, USUAL, MOST = SHAPE_OPTIONS = "trt_profile_min_shapes", "trt_profile_opt_shapes", "trt_profile_max_shapes"
"""Options of the provider, which the engine and Triton call alike: "ids:1x1,mask:1x1"."""

NO_RECIPE = "pack has no recipe for it with ONNX Runtime's provider for TensorRT"
SLOW_LOAD = (
    "builds an engine whenever it loads a model, which the runtime tensorrt does once: it is tried where "
    "`[optimize] runtimes` names it"
)


class OnnxRuntimeTensorRt(OnnxRuntimeCuda):
    """ONNX Runtime's provider for TensorRT, and the one for CUDA for what that refuses."""

    name = "onnxruntime-tensorrt"
    is_fitted = True
    builds_to_load = True

    def precisions(self, target: Target) -> tuple[Precision, ...]:
        return ("fp16",)

    def candidates(
        self, info: SourceInfo, target: Target, precisions: tuple[Precision, ...]
    ) -> tuple[tuple[Candidate, ...], tuple[Rejection, ...]]:
        """fp16 alone, which the graph says; standard operators alone, as TensorRT knows no others. Without CUDA graphs:
        the provider has one execution context for all shapes (ADR 17)."""
        if target.kind != "cuda":
            return (), ()  # nobody misses an NVIDIA runtime on another device
        problem = (find_problem() if self.versions() else INSTALL) if target.is_here else ""
        if problem:
            return (), (Rejection(self.name, problem),)
        refused = tuple(Rejection(f"{self.name}-{p}", NO_RECIPE) for p in precisions if p != "fp16")
        fp16 = Candidate(f"{self.name}-fp16", self.name, "fp16", (*CLEAN, FP16), session={ACCELERATOR: True})
        return ((fp16,) if "fp16" in precisions else ()), refused

    def fit_shapes(self, candidate: Candidate, ranges: Sequence[InputRange], settings: TensorRtSection) -> Candidate:
        """Told the range of each input: without, the provider builds again for every shape beyond those it has seen."""
        return replace(candidate, session={**candidate.session, **write_shapes(ranges)})

    def on_request(self, info: SourceInfo, target: Target) -> Mapping[str, str]:
        return {f"{self.name}-fp16": SLOW_LOAD}

    def configure_triton(self, config: Any, options: Mapping[str, OptionValue], threads: int) -> None:
        """Two accelerators, "tensorrt" first. Neither engines nor timings of kernels are kept: engines are found again
        by the names in a graph, whatever its weights are, so that an updated model would answer as the old one did, and
        timings need a folder of the server's machine, which a package does not know."""
        accelerator = config.optimization.execution_accelerators.gpu_execution_accelerator.add(name=ACCELERATOR)
        for name in SHAPE_OPTIONS:
            if name in options:
                accelerator.parameters[name] = str(options[name])
        super().configure_triton(config, options, threads)


@cache
def find_problem() -> str:
    """Why ONNX Runtime cannot use TensorRT on this machine; empty where it can."""
    spec = find_spec("onnxruntime")
    file = Path(spec.origin).parent / PROVIDER_FILE if spec and spec.origin else None
    if file is None or not file.is_file():
        return "this onnxruntime comes without a provider for TensorRT"
    named = LIBRARY.search(file.read_bytes())
    library = named.group().decode() if named else "libnvinfer.so"
    try:
        subprocess.run([sys.executable, "-c", OPEN, library], capture_output=True, timeout=ASK_LIMIT_S, check=True)
    except (OSError, subprocess.SubprocessError):
        return (
            f"onnxruntime's provider for TensorRT needs {library}, which the loader does not find: install that "
            "TensorRT and name its folder in LD_LIBRARY_PATH"
        )
    return ""


def write_shapes(ranges: Sequence[InputRange]) -> Mapping[str, OptionValue]:
    """Options for the provider's one optimization profile, which takes all shapes and is tuned for the typical case.

    As `tensorrt.write_profiles` does, it names each input that has axes: an open one of one size wants a range too.
    """
    ranges = [r for r in ranges if r.least]
    steps = {LEAST: [r.least for r in ranges], USUAL: [r.cases[0] for r in ranges], MOST: [r.most for r in ranges]}
    return {name: ",".join(map(_write_shape, ranges, shapes)) for name, shapes in steps.items()}


def _write_shape(r: InputRange, shape: tuple[int, ...]) -> str:
    return f"{r.name}:{'x'.join(map(str, shape))}"
