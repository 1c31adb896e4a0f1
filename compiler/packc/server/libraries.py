"""Gives pack's own server the Python libraries that the models of one repository need and it lacks.

A model says so in its configuration, `parameters { key: "requirement" }`, as pip writes it. torch, onnxruntime-gpu and
tensorrt alone are taken at their word, and installed apart from the server, once for each version, since they are large
and few packages need them. They go before what the server has, so numpy, where one of them brings it, is of the
server's own version. A server that is the user's own has what the user gave it.
"""

from __future__ import annotations

import logging
import os
import re
import shlex
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from packc.cache import Cache, cache_key
from packc.errors import MissingError, PackError
from packc.package.docker import find_torch_index, strip_label
from packc.package.lint.repository import read_repository
from packc.runtimes.aotinductor_cuda import read_torch_build
from packc.server.environment import Server
from packc.server.install import INSTALL_HINT, LIBRARIES, NUMPY, run_installer

log = logging.getLogger(__name__)

PARAMETER = "requirement"
KNOWN = re.compile(r"torch==\d+(\.\d+)*(\+cu\d+)?|onnxruntime-gpu\[cuda,cudnn\]==\d+(\.\d+)*|tensorrt==\d+(\.\d+)*")
CACHE_KIND = "libraries"
INDEX_FLAGS = "TORCH_FLAGS"
"""Environment variable: where pip finds torch, if not at PyTorch's own indices; the Makefile's of that name."""
PINS = "constraints.txt"
WITHOUT_WHEELS = (
    "tensorrt,tensorrt-libs,tensorrt-bindings,tensorrt-cu12,tensorrt-cu12-libs,tensorrt-cu13,tensorrt-cu13-libs"
)
"""What PyPI has of TensorRT as sources alone, all of which fetch libraries from NVIDIA's index or name others: 8.6.1,
which names no other, the three packages of 9, and of 10 and later all but the bindings."""
WITH_WHEELS = "tensorrt==8.6.0"
"""Of the versions that pack can use, the one that PyPI has as a wheel."""


class LibraryMissing(MissingError):
    """The server is here, and a library that one package needs cannot be had: other packages may do without."""


def add_libraries(server: Server, repository: Path, cache: Cache | None = None) -> Server:
    """`server`, with what the models in `repository` require where its Python looks; installed where it is missing.

    Raises LibraryMissing when a library cannot be had.
    """
    needed = find_requirements(repository) if server.origin == "own" else ()
    if not needed:
        return server
    python = find_python(server)
    key = cache_key(requirements=needed, python=str(python.resolve()))
    cache = cache or Cache()
    folder = cache.get_or_make(CACHE_KIND, key, lambda staging: _install(staging, python, needed, repository))
    return replace(server, variables={**server.variables, LIBRARIES: str(folder)})


def find_requirements(repository: Path) -> tuple[str, ...]:
    """What the models of the repository require, sorted. Raises LibraryMissing for what is not KNOWN."""
    models, _ = read_repository(repository)
    found = {name: text for name, model in models.items() if (text := model.parameter(PARAMETER))}
    for name, text in found.items():
        if not KNOWN.fullmatch(text):
            raise LibraryMissing(
                f"{repository}: the model {name} requires {text!r}, and pack installs nothing but one version of "
                "torch (torch==2.13.0), onnxruntime-gpu or tensorrt",
                hint=f"build again with a release of it, or serve with a Triton that has {text}",
            )
    return tuple(sorted(set(found.values())))


def find_python(server: Server) -> Path:
    """The interpreter of pack's own server. Raises PackError when it is gone."""
    for folder in server.variables["PATH"].split(os.pathsep):
        if (found := Path(folder, "python")).exists():
            return found
    raise PackError(f"{server.executable}: its environment has no python", hint="pack doctor --install server")


def list_index_flags(torch: str) -> list[str]:
    """Where pip finds the build of `torch` ("torch==2.13.0", "torch==2.11.0+cu130"), beside where it looks by itself.

    Of one version, a "+cpu" comes before PyPI's, which brings gigabytes of CUDA, and a "+cu130" too, which may be
    another CUDA's. An index that cannot be reached is left out after the second try.
    """
    return ["--extra-index-url", find_torch_index(torch), "--retries", "1"]


def _install(folder: Path, python: Path, requirements: Sequence[str], repository: Path) -> None:
    names = ", ".join(requirements)
    log.info("installing %s for the Triton server, once", names)
    started = time.monotonic()
    (folder / PINS).write_text(f"{NUMPY}\n")
    torch = next((requirement for requirement in requirements if requirement.startswith("torch==")), None)
    extra = shlex.split(os.environ.get(INDEX_FLAGS, "")) or list_index_flags(torch) if torch else []
    where = f'; {INDEX_FLAGS}="--index-url URL" names another index of torch' if torch else ""
    pip = [str(python), "-m", "pip", "install", "--quiet", "--no-input", "--constraint", str(folder / PINS)]
    what = ["--target", str(folder), *extra, *map(strip_label, requirements)]
    tries = list_formats(requirements)
    for flags in tries:
        try:
            run_installer(
                [*pip, *flags, *what],
                f"install {' '.join(requirements)}",
                folder,
                f"{names}, which {repository} needs,",
                INSTALL_HINT + where,
            )
            break
        except MissingError as error:
            if flags == tries[-1]:
                raise LibraryMissing(str(error), hint=error.hint) from error
    if torch:
        _check_build(folder, torch, repository)
    log.info("installed (%.0f s)", time.monotonic() - started)


def list_formats(requirements: Sequence[str]) -> list[list[str]]:
    """Flags for pip, to be tried in turn: wheels alone, and where PyPI has none of a TensorRT, sources of that alone.

    pip cannot be told to take either of a package, and a mirror may have NVIDIA's wheels.
    """
    wheels = ["--only-binary", ":all:"]
    is_source = any(text.startswith("tensorrt==") and text != WITH_WHEELS for text in requirements)
    return [wheels, [*wheels, "--no-binary", WITHOUT_WHEELS, "--retries", "1"]] if is_source else [wheels]


def _check_build(folder: Path, torch: str, repository: Path) -> None:
    """Raises LibraryMissing where pip took a build for another CUDA than `torch` names: no such model would load."""
    needed = torch.partition("+")[2]
    if not needed:
        return
    file = folder / "torch" / "version.py"
    build = read_torch_build(file.read_text("utf-8")) if file.is_file() else None
    if build is None or build.label != needed:
        got = f"a build for CUDA {build.cuda}" if build and build.cuda else "a build without CUDA"
        raise LibraryMissing(
            f"{torch}, which {repository} needs, is not installed: pip found {got} in its place",
            hint=f"see that {find_torch_index(torch)} can be reached, or name another index of that build: "
            f'{INDEX_FLAGS}="--index-url URL"',
        )
