"""TensorRT as an execution provider of ONNX Runtime: whether it can be used here, and which shapes it is told.

Which version of TensorRT a build of ONNX Runtime needs is in its provider's library, as the names of what that links.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from packc.candidate import OptionValue
from packc.tensors import InputRange

PROVIDER_FILE = "capi/libonnxruntime_providers_tensorrt.so"
LIBRARY = re.compile(rb"libnvinfer\.so\.\d+")
ASK_LIMIT_S = 60.0
OPEN = "import ctypes, sys; ctypes.CDLL(sys.argv[1])"

LEAST, USUAL, MOST = "least_shapes", "usual_shapes", "most_shapes"
"""Options of the engine: "ids:1x1,mask:1x1"."""
SHAPE_OPTIONS = {LEAST: "trt_profile_min_shapes", USUAL: "trt_profile_opt_shapes", MOST: "trt_profile_max_shapes"}
"""The same -> options of the provider."""


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
    """Options for the provider's one optimization profile, tuned for the typical case; none where no axis is open."""
    if all(r.least == r.most for r in ranges):
        return {}
    steps = {LEAST: [r.least for r in ranges], USUAL: [r.cases[0] for r in ranges], MOST: [r.most for r in ranges]}
    return {name: ",".join(map(_write_shape, ranges, shapes)) for name, shapes in steps.items()}


def _write_shape(r: InputRange, shape: tuple[int, ...]) -> str:
    return f"{r.name}:{'x'.join(map(str, shape))}"
