"""Gives pack's own server the Python libraries that the models of one repository need and it lacks.

A model says so in its configuration, `parameters { key: "requirement" }`, as pip writes it. torch, onnxruntime-gpu and
tensorrt alone are taken at their word, and installed apart from the server, once for each version, since they are large
and few packages need them. They go before what the server has, so numpy, which onnxruntime-gpu brings, is of the
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
from packc.server.environment import Server
from packc.server.install import INSTALL_HINT, LIBRARIES, NUMPY, run_installer

log = logging.getLogger(__name__)

PARAMETER = "requirement"
KNOWN = re.compile(r"torch==\d+(\.\d+)*(\+cu\d+)?|onnxruntime-gpu\[cuda,cudnn\]==\d+(\.\d+)*|tensorrt==\d+(\.\d+)*")
CACHE_KIND = "libraries"
INDEX_FLAGS = "TORCH_FLAGS"
"""Environment variable: where pip finds torch, if not at PyTorch's own indices; the Makefile's of that name."""


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
    pip = [str(python), "-m", "pip", "install", "--quiet", "--no-input"]
    if any(requirement.startswith("tensorrt==") for requirement in requirements):
        pip += ["--retries", "1"]  # PyPI has its name, and sources that fetch it from NVIDIA's index
    else:
        pip += ["--only-binary", ":all:"]
    torch = next((requirement for requirement in requirements if requirement.startswith("torch==")), None)
    extra = shlex.split(os.environ.get(INDEX_FLAGS, "")) or list_index_flags(torch) if torch else [NUMPY]
    where = f'; {INDEX_FLAGS}="--index-url URL" names another index of torch' if torch else ""
    try:
        run_installer(
            [*pip, "--target", str(folder), *extra, *map(strip_label, requirements)],
            f"install {' '.join(requirements)}",
            f"{names}, which {repository} needs,",
            INSTALL_HINT + where,
        )
    except MissingError as error:
        raise LibraryMissing(str(error), hint=error.hint) from error
    log.info("installed (%.0f s)", time.monotonic() - started)
