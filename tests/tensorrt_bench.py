"""TensorRT's adapter with a stub of TensorRT, and a folder with a graph."""

from __future__ import annotations

import ctypes
import importlib.util
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from cuda_memory import StubCuda
from packc.runtimes.tensorrt_python import ENGINE, ENGINE_FILES
from tensorrt_stub import World, make_tensorrt, save_network

PROFILE = "x=1x2/2x2/4x2"
DYNAMIC = {"precision": "fp32", "profiles": [PROFILE]}

only_8 = pytest.mark.parametrize("bench", ["8.6"], indirect=True)
from_10 = pytest.mark.parametrize("bench", ["10.16", "11.4"], indirect=True)


class Bench:
    """The adapter of a bundle, imported anew, so that it has the stub's TensorRT."""

    def __init__(self, version: str, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self.cuda = StubCuda()
        self.world = World(self.cuda, int(version.split(".")[0]))
        self.trt = make_tensorrt(version, self.world)
        self.folder = folder
        self.model = str(save_network(folder / "model.onnx"))
        self.plan = folder / "model.plan"
        patch.setitem(sys.modules, "tensorrt", self.trt)
        self.libraries = ctypes.CDLL
        patch.setattr(ctypes, "CDLL", self.open_library)
        patch.setattr(sys, "path", list(sys.path))
        for file in ENGINE_FILES:
            patch.delitem(sys.modules, file.stem, raising=False)
        spec = importlib.util.spec_from_file_location("engine_of_a_bundle", ENGINE)
        assert spec is not None
        assert spec.loader is not None
        self.engine: Any = importlib.util.module_from_spec(spec)
        patch.setitem(sys.modules, spec.name, self.engine)
        spec.loader.exec_module(self.engine)
        self.built_apart: list[tuple[Any, ...]] = []
        patch.setattr(self.engine, "build_apart", self.build_apart)

    def module(self, name: str) -> ModuleType:
        """A file of the adapter: "profiles" is tensorrt_profiles.py."""
        return sys.modules[f"tensorrt_{name}"]

    def build_apart(self, *arguments: Any) -> None:
        """Builds in this process, as another one would have no stub."""
        self.built_apart.append(arguments)
        self.engine.build(*arguments[1:])

    def open_library(self, name: str | None) -> Any:
        if name is None:
            return self.libraries(None)
        if name == "libcuda.so.1":
            return self.cuda
        if name.startswith("libnvinfer.so.") and self.world.dialect > 8:
            parts = zip(("Major", "Minor", "Patch", "Build"), (10, 3, 0, 26), strict=True)
            return SimpleNamespace(**{f"getInferLib{part}Version": lambda n=n: n for part, n in parts})
        raise OSError(f"{name}: no such file")

    @property
    def config(self) -> Any:
        return self.world.configs[-1]

    def flags(self) -> set[str]:
        return {flag.name for flag in self.config._flags}

    def run(self, session: Any, rows: int, value: float = 1.0) -> Any:
        return self.engine.run(session, {"x": np.full((rows, 2), value, np.float32)})["y"]
