"""Finds the real tritonserver that verifies and serves packages.

Looked at in this order: `PACK_TRITON_SERVER` (with `PACK_TRITON_BACKENDS`), pack's own environment below the cache
root (`install_server` makes it), a tritonserver on PATH or in /opt/tritonserver.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from packc.cache import Cache
from packc.errors import MissingError
from packc.server.install import find_own_server

Origin = Literal["PACK_TRITON_SERVER", "own", "PATH"]

INSTALL_HINT = (
    "`pack doctor --install server` installs one (x86-64 Linux, about 400 MB, once), or name yours with "
    "PACK_TRITON_SERVER and PACK_TRITON_BACKENDS, or verify on a running one with `--url`"
)
_CONTAINER_SERVER = Path("/opt/tritonserver/bin/tritonserver")


@dataclass(frozen=True, slots=True)
class Server:
    """A tritonserver that can be started here."""

    executable: Path
    backends: Path
    """--backend-directory."""
    caches: Path | None
    """--cache-directory, where response caches are; None when it has none."""
    variables: Mapping[str, str]
    """Environment variables that it needs beside this process's own."""
    origin: Origin

    def __str__(self) -> str:
        return f"{self.executable} ({self.origin})"


def find_server(cache: Cache | None = None) -> Server | None:
    """The tritonserver to use, or None.

    Raises MissingError when PACK_TRITON_SERVER or PACK_TRITON_BACKENDS name something that is not there.
    """
    if chosen := os.environ.get("PACK_TRITON_SERVER"):
        return _named_server(Path(chosen), os.environ.get("PACK_TRITON_BACKENDS"))
    if own := find_own_server(cache or Cache()):
        return Server(own.executable, own.backends, own.caches, own.variables, "own")
    found = shutil.which("tritonserver") or (str(_CONTAINER_SERVER) if _CONTAINER_SERVER.is_file() else None)
    if found is None:
        return None
    root = Path(found).resolve().parents[1]
    if not (root / "backends").is_dir():
        return None
    return Server(Path(found), root / "backends", _existing(root / "caches"), {}, "PATH")


def require_server(cache: Cache | None = None) -> Server:
    """Like `find_server`, but raises MissingError with a way out when there is none."""
    server = find_server(cache)
    if server is None:
        raise MissingError("there is no Triton server here to verify or serve with", hint=INSTALL_HINT)
    return server


def _named_server(executable: Path, backends: str | None) -> Server:
    if not executable.is_file() or not os.access(executable, os.X_OK):
        raise MissingError(
            f"PACK_TRITON_SERVER names {executable}, which is not an executable file",
            hint="give the path of the tritonserver program itself, e.g. /opt/tritonserver/bin/tritonserver",
        )
    root = executable.resolve().parents[1]
    folder = Path(backends) if backends else root / "backends"
    if not folder.is_dir():
        raise MissingError(
            f"the backend directory {folder} of {executable} does not exist",
            hint="set PACK_TRITON_BACKENDS to the folder that holds onnxruntime/ and python/",
        )
    return Server(executable, folder, _existing(root / "caches"), {}, "PACK_TRITON_SERVER")


def _existing(folder: Path) -> Path | None:
    return folder if folder.is_dir() else None
