"""Finds the package or the model repository that a DIR on the command line means."""

from __future__ import annotations

from pathlib import Path

from packc.errors import UsageError
from packc.package.manifest_file import MANIFEST, read_manifest

_REPOSITORY = "model_repository"


def find_package(path: Path) -> Path:
    """The folder of one target: `path` itself, its parent when it is a model_repository, or the only one below it.

    Raises UsageError when there is none, or more than one.
    """
    if not path.is_dir():
        raise UsageError(f"{path} is not a folder", hint="give a package, as in build/<model>/<target>")
    for folder in (path, path.resolve().parent if path.resolve().name == _REPOSITORY else path):
        if (folder / MANIFEST).is_file():
            return folder
    below = sorted(file.parent for file in path.glob(f"*/{MANIFEST}") if "." not in file.parent.name)
    if len(below) == 1:
        return below[0]
    if below:
        raise UsageError(
            f"{path} holds packages for {len(below)} targets",
            hint="give one of them: " + ", ".join(str(folder) for folder in below),
        )
    raise UsageError(f"{path} holds no package", hint="give the folder of one target, as in build/<model>/<target>")


def find_repository(path: Path) -> Path:
    """The model repository of a package, or `path` itself when it is one. Raises UsageError when it is neither."""
    if path.is_dir() and any(path.glob("*/config.pbtxt")):
        return path
    package = find_package(path)
    if not (package / _REPOSITORY).is_dir():
        raise UsageError(
            f"{package} holds no model repository: its state is {read_manifest(package).state}",
            hint=f"`pack report {package}` says why nothing was published there",
        )
    return package / _REPOSITORY
