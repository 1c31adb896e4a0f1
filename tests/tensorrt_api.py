"""Lists what TensorRT's Python module offers of what the engine may use: tests/golden/tensorrt/api-*.txt.

    python tensorrt_api.py           > api-8.6.txt    in an interpreter that has tensorrt; no GPU is needed
    python tensorrt_api.py FILE.whl  > api-10.16.txt  of the bindings alone (`pip download tensorrt-cu13-bindings`), for
                                                      this Python; a compiler makes libraries for them that do nothing

Standard library only, as interpreters with TensorRT have no packc. A line is "Class.member", with its parameters where
it is a method and its value where it is one of an enumeration.
"""

from __future__ import annotations

import importlib
import os
import re
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

CLASSES = (
    "Builder", "BuilderFlag", "DataType", "EngineInspector", "HardwareCompatibilityLevel", "IBuilderConfig",
    "ICudaEngine", "IExecutionContext", "IHostMemory", "ILogger", "INetworkDefinition", "IOptimizationProfile",
    "ITensor", "ITimingCache", "LayerInformationFormat", "MemoryPoolType", "NetworkDefinitionCreationFlag",
    "OnnxParser", "OnnxParserRefitter", "ParserError", "ProfilingVerbosity", "Refitter", "Runtime", "TacticSource",
    "TensorIOMode",
)  # fmt: skip

LIBRARIES = ("nvinfer", "nvinfer_plugin", "nvonnxparser")
SYMBOLS = (
    "createInferBuilder_INTERNAL", "createInferRefitter_INTERNAL", "createInferRuntime_INTERNAL",
    "createNvOnnxParserRefitter_INTERNAL", "createNvOnnxParser_INTERNAL", "getBuilderPluginRegistry",
    "getNvOnnxParserVersion", "getPluginRegistry", "initLibNvInferPlugins",
)  # fmt: skip
"""What the bindings import from those libraries (`nm -D --undefined-only`)."""


def list_api(module: Any) -> list[str]:
    """The version, then every public member of CLASSES."""
    lines = [f"tensorrt {module.__version__}"]
    for name in CLASSES:
        found = getattr(module, name, None)
        for member in sorted(dir(found)) if found is not None else ():
            if not member.startswith("_") and member not in ("name", "value", "Severity"):
                lines.append(f"{name}.{member}{describe_member(getattr(found, member))}")
            elif member == "name" and "__members__" not in dir(found):
                lines.append(f"{name}.name")
    return lines


def describe_member(member: Any) -> str:
    """ "(shape, index)" of methods, " = 3" of members of enumerations, nothing of properties."""
    if hasattr(type(member), "__members__"):
        return f" = {int(member)}"
    if not callable(member):
        return ""
    signature = re.search(r"\w+\(self: [\w.]+(.*)\) -> ", member.__doc__ or "")
    if signature is None:
        return "(...)"
    return "(" + ", ".join(re.findall(r", (\w+): ", signature.group(1))) + ")"


def list_wheel(wheel: Path) -> str:
    """The same of a wheel of bindings, in a child process that finds libraries of the right names."""
    major = wheel.name.split("-")[1].split(".")[0]
    with tempfile.TemporaryDirectory() as folder:
        zipfile.ZipFile(wheel).extractall(folder)
        source = Path(folder, "stub.c")
        source.write_text("\n".join(f"void *{symbol}(void) {{ return 0; }}" for symbol in SYMBOLS))
        for library in LIBRARIES:
            soname = f"lib{library}.so.{major}"
            command = ["cc", "-shared", "-fPIC", f"-Wl,-soname,{soname}", "-o", str(Path(folder, soname)), str(source)]
            subprocess.run(command, check=True)
        environment = {**os.environ, "LD_LIBRARY_PATH": folder, "PYTHONPATH": folder}
        command = [sys.executable, __file__]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout


def import_tensorrt() -> Any:
    """TensorRT's module, or its bindings alone."""
    try:
        return importlib.import_module("tensorrt")
    except ImportError:
        return importlib.import_module("tensorrt_bindings")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        sys.stdout.write(list_wheel(Path(sys.argv[1])))
    else:
        sys.stdout.write("\n".join(list_api(import_tensorrt())) + "\n")
