from __future__ import annotations

import os
from pathlib import Path

import pytest

from packc.runtimes import cuda_toolkit
from packc.runtimes.cuda_toolkit import find_cccl, find_cuda_home, find_driver_library, point_to_cuda


def install(home: Path, *headers: str) -> Path:
    for header in headers:
        file = home / "include" / header
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    return home


@pytest.fixture(autouse=True)
def nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No toolkit but those that a test installs."""
    monkeypatch.setattr(cuda_toolkit, "TOOLKIT", tmp_path / "local")
    monkeypatch.setattr(cuda_toolkit.shutil, "which", lambda name: None)
    monkeypatch.setattr(cuda_toolkit.importlib.util, "find_spec", lambda name: None)


def test_the_first_place_with_all_headers_is_taken(tmp_path: Path) -> None:
    assert find_cuda_home({}) is None
    bare = install(tmp_path / "bare", "cuda_runtime_api.h", "crt/host_defines.h")
    local = install(tmp_path / "local", "cuda_runtime_api.h", "crt/host_defines.h", "nv/target")
    named = install(tmp_path / "named", "cuda_runtime_api.h", "crt/host_defines.h", "cccl/nv/target")
    assert find_cuda_home({}) == local
    assert find_cuda_home({"CUDA_PATH": str(named)}) == named
    assert find_cuda_home({"CUDA_HOME": str(bare), "CUDA_PATH": str(named)}) == named
    assert find_cuda_home({"CUDA_HOME": str(bare)}) == local


def test_the_toolkit_of_nvcc_and_pips_packages_count_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pip = install(tmp_path / "nvidia/cu13", "cuda_runtime_api.h", "crt/host_defines.h", "nv/target")

    class Spec:
        submodule_search_locations = (str(tmp_path / "nvidia"),)

    monkeypatch.setattr(cuda_toolkit.importlib.util, "find_spec", lambda name: Spec if name == "nvidia" else None)
    assert find_cuda_home({}) == pip
    nvcc = install(tmp_path / "opt", "cuda_runtime_api.h", "crt/host_defines.h", "nv/target")
    (nvcc / "bin").mkdir()
    (nvcc / "bin/nvcc").touch()
    monkeypatch.setattr(cuda_toolkit.shutil, "which", lambda name: str(nvcc / "bin" / name))
    assert find_cuda_home({}) == nvcc


def test_headers_that_only_nvcc_would_find_are_named(tmp_path: Path) -> None:
    old = install(tmp_path / "old", "nv/target")
    new = install(tmp_path / "new", "cccl/nv/target")
    assert [find_cccl(old), find_cccl(new)] == [old / "include", new / "include/cccl"]


def test_builds_are_told_where_things_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = install(tmp_path / "local", "cuda_runtime_api.h", "crt/host_defines.h", "cccl/nv/target")
    driver = tmp_path / "libcuda.so.570"
    driver.touch()
    monkeypatch.setattr(cuda_toolkit, "find_driver_library", lambda: driver)
    monkeypatch.setenv("CUDA_HOME", "/gone")
    monkeypatch.setenv("CPATH", "/mine")
    monkeypatch.setenv("LIBRARY_PATH", "")
    point_to_cuda(tmp_path)
    assert os.environ["CUDA_HOME"] == str(home)
    assert os.environ["CPATH"] == f"{home}/include/cccl:/mine"
    assert os.environ["LIBRARY_PATH"] == str(tmp_path)
    assert (tmp_path / "libcuda.so").resolve() == driver


def test_the_drivers_library_is_where_the_loader_found_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    maps = tmp_path / "maps"
    maps.write_text("7f0 r-xp 0 0:1 1 /usr/lib/libc.so.6\n7f1 r-xp 0 0:1 2 /usr/lib/libcuda.so.570.86.15\n")
    monkeypatch.setattr(cuda_toolkit.ctypes, "CDLL", lambda name: None)
    assert find_driver_library(maps) == Path("/usr/lib/libcuda.so.570.86.15")

    def refuse(name: str) -> None:
        raise OSError(name)

    monkeypatch.setattr(cuda_toolkit.ctypes, "CDLL", refuse)
    assert find_driver_library(maps) is None
