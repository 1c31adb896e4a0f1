"""Finds the package or the model repository that a DIR on the command line means."""

from __future__ import annotations

from pathlib import Path

from packc.driver.job_folder import JOB_FOLDER
from packc.errors import MissingError, UsageError
from packc.package.manifest import Manifest
from packc.package.manifest_file import MANIFEST, read_manifest

_REPOSITORY = "model_repository"


def refuse_bundles(path: Path) -> None:
    """Raises UsageError where `path` is a job bundle, or a folder of them as job/ is: only import takes one."""
    is_one = _is_bundle(path)
    if not is_one and not any(_is_bundle(below) for below in path.glob("*")):
        return
    folder = path.resolve().parent if is_one else path.resolve()
    readme = folder.parent / "README.md"
    how = f"as {readme} says, " if readme.is_file() else ""
    raise UsageError(
        f"{path} {'is a job bundle' if is_one else 'holds job bundles'}, not a package",
        hint=f"run {'it' if is_one else 'them'} on the device, {how}and `pack import` what was measured there",
    )


def _is_bundle(folder: Path) -> bool:
    return (folder / "job.json").is_file() and (folder / "run.py").is_file()


def find_package(path: Path) -> Path:
    """The folder of one target: `path` itself, its parent when it is a model_repository, or the only one below it.

    Raises UsageError when there is none, or more than one, and for job bundles.
    """
    if not path.is_dir():
        raise UsageError(f"{path} is not a folder", hint="give a package, as in build/<model>/<target>")
    refuse_bundles(path)
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
    return find_servable(path) / _REPOSITORY


def find_servable(path: Path) -> Path:
    """As `find_package`, of a package that holds models. Raises UsageError for job bundles and mere reports."""
    package = find_package(path)
    if (package / _REPOSITORY).is_dir():
        return package
    manifest = read_manifest(package)
    hint = f"`pack report {package}` says why nothing was published there"
    if manifest.state == "built" and (package / JOB_FOLDER).is_dir():
        hint = (
            f"run its job bundles on the device, as {package / 'README.md'} says, and `pack import` what they measured"
        )
    raise UsageError(f"{package} holds no model repository: its state is {manifest.state}", hint=hint)


def read_member(package: Path, manifest: Manifest, target: str) -> Manifest:
    """The manifest of one target in a package for several GPUs.

    Raises UsageError where the package has no part of that target.
    """
    served = [record.target for record in manifest.combined if record.file]
    if target not in served:
        hint = f"it is for {', '.join(served)}" if served else f"it is for one target, {manifest.target}"
        raise UsageError(f"{package} has no target {target!r}", hint=hint)
    return read_manifest(package / "targets" / target)


def read_combined(package: Path, manifest: Manifest, target: str) -> Manifest:
    """As `read_member`, of a target that was measured. Raises MissingError where nothing of it was."""
    found = read_member(package, manifest, target)
    if found.verdict.chosen is None:
        raise MissingError(
            f"{target} was built and not measured, so there is nothing to verify it against",
            hint=f"`pack serve {package} --target {target}` serves it; `pack import` takes what its bundles measured",
        )
    return found
