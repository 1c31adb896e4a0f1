"""Finds what C++ programs for CUDA are compiled and linked with: its headers, and the driver's library.

Packages of AOTInductor need headers of the CUDA runtime, of its compiler (crt) and of its C++ library (cccl). A toolkit
has them all; of pip's packages of CUDA 13, torch brings the first and Triton none that fit.
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

DRIVER_LIBRARY = "libcuda.so.1"
TOOLKIT = Path("/usr/local/cuda")
"""Where CUDA's toolkit lies if no variable says otherwise."""
NEEDED = ("cuda_runtime_api.h", "crt/host_defines.h")
CCCL = ("include", "include/cccl")
"""Where headers of the C++ library are: since CUDA 13 in a folder of their own, which nvcc knows and g++ does not."""
CCCL_HEADER = "nv/target"


def find_cuda_home(environment: Mapping[str, str] = os.environ) -> Path | None:
    """The first place that has all headers: what CUDA_HOME or CUDA_PATH names, nvcc's toolkit, TOOLKIT, pip's."""
    return next((home for home in _list_homes(environment) if _is_complete(home)), None)


def point_to_cuda(scratch: Path) -> None:
    """Tells PyTorch's builds and the compiler where the headers are, and the linker where the driver's library is:
    drivers install libcuda.so.1, and programs are linked with libcuda.so. Call it before torch is imported; without
    headers or a driver it leaves things as they are."""
    if home := find_cuda_home():
        os.environ["CUDA_HOME"] = str(home)
        _add_path("CPATH", find_cccl(home))
    if library := find_driver_library():
        (scratch / "libcuda.so").symlink_to(library)
        _add_path("LIBRARY_PATH", scratch)


def find_cccl(home: Path) -> Path:
    """Where a compiler that is not nvcc finds headers of CUDA's C++ library."""
    return next(home / folder for folder in CCCL if (home / folder / CCCL_HEADER).is_file())


def find_driver_library(maps: Path = Path("/proc/self/maps")) -> Path | None:
    """The file of the driver's library, as the loader finds it; None without a driver."""
    try:
        ctypes.CDLL(DRIVER_LIBRARY)
    except OSError:
        return None
    paths = (line.split()[-1] for line in maps.read_text("utf-8").splitlines() if "libcuda.so" in line)
    return next((Path(path) for path in paths if path.startswith("/")), None)


def _list_homes(environment: Mapping[str, str]) -> Iterator[Path]:
    yield from (Path(named) for name in ("CUDA_HOME", "CUDA_PATH") if (named := environment.get(name)))
    if nvcc := shutil.which("nvcc"):
        yield Path(nvcc).resolve().parent.parent
    yield TOOLKIT
    spec = importlib.util.find_spec("nvidia")
    for place in (spec.submodule_search_locations or ()) if spec else ():
        yield from sorted(Path(place).glob("cu[0-9]*"), reverse=True)


def _is_complete(home: Path) -> bool:
    has_headers = all((home / "include" / header).is_file() for header in NEEDED)
    return has_headers and any((home / folder / CCCL_HEADER).is_file() for folder in CCCL)


def _add_path(variable: str, folder: Path) -> None:
    os.environ[variable] = os.pathsep.join(filter(None, [str(folder), os.environ.get(variable)]))
