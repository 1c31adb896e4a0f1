"""Gives pack's own server the Python libraries that the models of one repository need and it lacks.

A model says so in its configuration, `parameters { key: "requirement" }`, as pip writes it. torch and onnxruntime-gpu
alone are taken at their word, and installed apart from the server, once for each version, since they are large and few
packages need them. They go before what the server has, so numpy, which onnxruntime-gpu brings, is of the server's own
version. A server that is the user's own has what the user gave it.
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
from packc.errors import PackError
from packc.package.lint.repository import read_repository
from packc.server.environment import Server
from packc.server.install import LIBRARIES, NUMPY, run_installer

log = logging.getLogger(__name__)

PARAMETER = "requirement"
KNOWN = re.compile(r"torch==\d+(\.\d+)*|onnxruntime-gpu\[cuda,cudnn\]==\d+(\.\d+)*")
CACHE_KIND = "libraries"
INDEX_FLAGS = "TORCH_FLAGS"
"""Environment variable: where pip finds torch, if not where it looks by itself; the Makefile's of that name."""


def add_libraries(server: Server, repository: Path, cache: Cache | None = None) -> Server:
    """`server`, with what the models in `repository` require where its Python looks; installed where it is missing.

    Raises MissingError when a library cannot be had.
    """
    needed = find_requirements(repository) if server.origin == "own" else ()
    if not needed:
        return server
    python = find_python(server)
    key = cache_key(requirements=needed, python=str(python.resolve()))
    cache = cache or Cache()
    folder = cache.get_or_make(CACHE_KIND, key, lambda staging: _install(staging, python, needed))
    return replace(server, variables={**server.variables, LIBRARIES: str(folder)})


def find_requirements(repository: Path) -> tuple[str, ...]:
    """What the models of the repository require, of what is KNOWN; sorted."""
    models, _ = read_repository(repository)
    found = {model.parameter(PARAMETER) for model in models.values()}
    return tuple(sorted(text for text in found if KNOWN.fullmatch(text)))


def find_python(server: Server) -> Path:
    """The interpreter of pack's own server. Raises PackError when it is gone."""
    for folder in server.variables["PATH"].split(os.pathsep):
        if (found := Path(folder, "python")).exists():
            return found
    raise PackError(f"{server.executable}: its environment has no python", hint="pack doctor --install server")


def _install(folder: Path, python: Path, requirements: Sequence[str]) -> None:
    log.info("installing %s for the Triton server, once", ", ".join(requirements))
    started = time.monotonic()
    pip = [str(python), "-m", "pip", "install", "--quiet", "--no-input", "--only-binary", ":all:"]
    is_torch = any(requirement.startswith("torch==") for requirement in requirements)
    extra = shlex.split(os.environ.get(INDEX_FLAGS, "")) if is_torch else [NUMPY]
    what = f"install {' '.join(requirements)}"
    run_installer([*pip, "--target", str(folder), *extra, *requirements], what)
    log.info("installed (%.0f s)", time.monotonic() - started)
