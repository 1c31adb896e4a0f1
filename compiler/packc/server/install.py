"""Installs a real tritonserver in an environment of its own below the cache root.

The nvidia-pytriton wheel carries Triton 2.51.0 with its Python backend. Its stub reads tensors of numpy 2 as empty, so
the environment is apart from pack's own (numpy < 2). The Python-based backends below `backends/` make it load
unmodified repositories of the backends "onnxruntime", "openvino" and "tensorrt".

Two cache entries: "server" (the packages; large) and "backends" (the backend directory; Triton refuses links there).
"""

from __future__ import annotations

import json
import logging
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from packc.cache import Cache, cache_key
from packc.child import die_with_parent
from packc.errors import MissingError
from packc.runtimes.onnxruntime_cuda import OnnxRuntimeCuda
from packc.runtimes.tensorrt import TensorRt

log = logging.getLogger(__name__)

PYTRITON = "nvidia-pytriton==0.7.0"
NUMPY = "numpy==1.26.4"
OLDEST_PYTHON, NEWEST_PYTHON = (3, 10), (3, 13)
"""Minor versions for which the wheel has a stub and the other packages still have wheels."""
OLDEST_GLIBC = (2, 35)

INSTALL_HINT = "check the network, pip's index and the free space below the cache folder, then run it again"

_ERROR = "ERROR:"
_REMARKS = ("WARNING:", "DEPRECATION:", "[notice]", f"{_ERROR} ResolutionImpossible")
"""Of pip: what an error is, and lines that never say why an installation failed."""

LIBRARIES = "PACK_SERVER_LIBRARIES"
"""Environment variable of the server: a folder of further Python packages for its models."""

_SITE = (
    f"import os, sys; sys.dont_write_bytecode = True; sys.path[:0] = filter(None, [os.environ.get({LIBRARIES!r})])\n"
)
"""A .pth line: the stub ignores Python's environment variables. It would leave __pycache__ in the repositories that it
serves, and find nothing but what is installed beside it. What a model asks for goes before that: `onnxruntime-gpu` has
the modules of `onnxruntime`."""

_BACKENDS = Path(__file__).resolve().parent / "backends"
_ENGINES = {
    "onnxruntime/cuda_engine.py": OnnxRuntimeCuda().engine,
    **{f"tensorrt/{file.name}": file for file in TensorRt().engine_files.values()},
}
"""Place below the backend directory -> the adapter of a runtime that the backend there uses."""

_INTERPRETER_FACTS = """
import ctypes, json, sys, sysconfig
folder, name = sysconfig.get_config_var("LIBDIR"), sysconfig.get_config_var("INSTSONAME")
try:
    ctypes.CDLL(f"{folder}/{name}")
except OSError:
    try:
        ctypes.CDLL(name)
    except OSError:
        folder = None
print(json.dumps({"minor": sys.version_info[:2], "libraries": folder, "base": sys.base_prefix}))
"""


@dataclass(frozen=True, slots=True)
class Interpreter:
    """A Python that Triton's stub can embed: it has a shared library in `libraries`."""

    executable: str
    minor: tuple[int, int]
    libraries: Path
    base: str

    @property
    def version(self) -> str:
        return ".".join(map(str, self.minor))


@dataclass(frozen=True, slots=True)
class OwnServer:
    """The installed server: what `environment.Server` needs of it."""

    executable: Path
    backends: Path
    caches: Path
    variables: Mapping[str, str]


def find_own_server(cache: Cache) -> OwnServer | None:
    """The server that `install_server` made for the packages that pack has now, or None."""
    for interpreter in _candidate_interpreters():
        if (folder := cache.find("server", _server_key(interpreter))) is not None:
            os.utime(folder)  # it was used: the cache drops what was used longest ago
            return _assemble(folder, interpreter, cache)
    return None


def install_server(cache: Cache | None = None) -> OwnServer:
    """Installs the server, unless it is there already. About half a minute and 400 MB.

    A killed installation leaves nothing that counts; two at once share the work.
    Raises MissingError when this machine cannot run it or the packages cannot be had.
    """
    _check_machine()
    cache = cache or Cache()
    interpreter = choose_interpreter()
    folder = cache.get_or_make("server", _server_key(interpreter), lambda staging: _install(staging, interpreter))
    return _assemble(folder, interpreter, cache)


def choose_interpreter() -> Interpreter:
    """A Python of a version that the wheel has a stub for: pack's own, else one on PATH. Raises MissingError."""
    for interpreter in _candidate_interpreters():
        return interpreter
    oldest, newest = (".".join(map(str, v)) for v in (OLDEST_PYTHON, NEWEST_PYTHON))
    raise MissingError(
        f"the Triton server needs a Python {oldest} to {newest} that was built with a shared library; "
        f"pack runs on {sys.version.split()[0]} and PATH has no other that fits",
        hint=f"install Python {newest} with its shared library (Debian: libpython{newest}) and put it on PATH",
    )


def _candidate_interpreters() -> list[Interpreter]:
    names = [sys.executable] if OLDEST_PYTHON <= sys.version_info[:2] <= NEWEST_PYTHON else []
    if found := [i for name in names if (i := _inspect(name)) is not None]:
        return found
    versions = range(NEWEST_PYTHON[1], OLDEST_PYTHON[1] - 1, -1)
    others = [path for v in versions if (path := shutil.which(f"python3.{v}")) is not None]
    return [i for path in others if (i := _inspect(path)) is not None]


def _inspect(executable: str) -> Interpreter | None:
    command = [executable, "-I", "-S", "-c", _INTERPRETER_FACTS]
    try:
        out = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    facts = json.loads(out)
    minor = (int(facts["minor"][0]), int(facts["minor"][1]))
    if facts["libraries"] is None or not OLDEST_PYTHON <= minor <= NEWEST_PYTHON:
        return None
    return Interpreter(executable, minor, Path(facts["libraries"]), facts["base"])


def _check_machine() -> None:
    system, machine = platform.system(), platform.machine()
    if (system, machine) != ("Linux", "x86_64"):
        raise MissingError(
            f"pack can install a Triton server on x86-64 Linux only; this is {machine} {system}",
            hint="name an installed server with PACK_TRITON_SERVER, or verify on a running one with `--url`",
        )
    library, version = platform.libc_ver()
    numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
    if library != "glibc" or numbers < OLDEST_GLIBC:
        needed = ".".join(map(str, OLDEST_GLIBC))
        raise MissingError(
            f"the Triton server needs glibc {needed} or newer; this system has {library or 'another libc'} {version}",
            hint="use Debian 12, Ubuntu 22.04 or newer, or verify on a running server with `--url`",
        )


def _requirements() -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(installed with what they depend on, installed alone): the versions that answer for pack's own."""
    whole = (NUMPY, *(_like_ours(package) for package in ("onnxruntime", "openvino", "pillow")))
    return whole, (PYTRITON, _like_ours("tokenizers"))


def _like_ours(package: str) -> str:
    try:
        return f"{package}=={metadata.version(package)}"
    except metadata.PackageNotFoundError:
        return package


def _server_key(interpreter: Interpreter) -> str:
    return cache_key(requirements=_requirements(), python=interpreter.minor, base=interpreter.base, site=_SITE)


def _install(folder: Path, interpreter: Interpreter) -> None:
    whole, alone = _requirements()
    log.info("installing a Triton server, once: %s", ", ".join((*alone, *whole)))
    started = time.monotonic()
    run_installer([interpreter.executable, "-m", "venv", str(folder / "venv")], "make its environment", folder)
    pip = [str(folder / "venv/bin/python"), "-m", "pip", "install", "--quiet", "--no-input", "--only-binary", ":all:"]
    run_installer([*pip, "--no-deps", *alone], f"install {' '.join(alone)}", folder)
    run_installer([*pip, *whole], f"install {' '.join(whole)}", folder)
    (_site_packages(folder, interpreter) / "pack_server.pth").write_text(_SITE)
    log.info("the Triton server is installed (%.0f s)", time.monotonic() - started)


def _site_packages(folder: Path, interpreter: Interpreter) -> Path:
    return folder / "venv" / "lib" / f"python{interpreter.version}" / "site-packages"


def run_installer(
    command: list[str], what: str, folder: Path, lacking: str = "the Triton server", hint: str = INSTALL_HINT
) -> None:
    """Runs a step of an installation, whose temporary files lie below `folder` and are gone afterwards: gigabytes.

    Raises MissingError when it could not do `what`: that `lacking` is not installed, and why in one line.
    """
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME")}
    with tempfile.TemporaryDirectory(prefix=".tmp-", dir=folder.resolve(), ignore_cleanup_errors=True) as scratch:
        done = subprocess.run(
            command,
            env={**environment, "TMPDIR": scratch},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            preexec_fn=die_with_parent,
        )
    if done.returncode:
        reason = _find_reason(done.stderr) or _find_reason(done.stdout) or f"it ended with status {done.returncode}"
        raise MissingError(f"{lacking} is not installed: could not {what}: {reason}", hint=hint)


def _find_reason(output: str) -> str | None:
    """The last line that says what went wrong: an error of pip's, else whatever is no remark of its."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    said = [line for line in lines if not line.startswith(_REMARKS)]
    errors = [line.removeprefix(_ERROR).strip() for line in said if line.startswith(_ERROR)]
    return next(reversed(errors or said), None)


def _assemble(folder: Path, interpreter: Interpreter, cache: Cache) -> OwnServer:
    packages = _site_packages(folder, interpreter)
    triton = packages / "pytriton" / "tritonserver"
    ours = {path.relative_to(_BACKENDS).as_posix(): path for path in sorted(_BACKENDS.rglob("*.py"))} | _ENGINES
    key = cache_key(server=folder.name, ours={name: path.read_text() for name, path in ours.items()})

    def copy(backends: Path) -> None:
        shutil.copytree(triton / "backends" / "python", backends / "python", ignore=shutil.ignore_patterns("__py*"))
        shutil.copy2(
            triton / "python_backend_stubs" / interpreter.version / "triton_python_backend_stub", backends / "python"
        )
        for name, path in ours.items():
            (backends / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, backends / name)

    backends = cache.find("backends", key) or cache.get_or_make("backends", key, copy)
    libraries = os.pathsep.join(map(str, (packages / "nvidia_pytriton.libs", interpreter.libraries)))
    variables = {
        "PATH": f"{folder / 'venv/bin'}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
        "LD_LIBRARY_PATH": libraries,
        "PYTHONNOUSERSITE": "1",
    }
    return OwnServer(triton / "bin" / "tritonserver", backends, triton / "caches", variables)
