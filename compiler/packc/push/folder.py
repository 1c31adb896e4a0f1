"""Pushes into a model repository that servers read: a folder, local or mounted.

New members are put beside the old ones, then the model that clients call is exchanged in one step. A push that is
killed anywhere leaves a repository that loads: before that step the old model, after it the new one. Only where the
file system cannot exchange two folders is the old model `.<name>.previous` for a moment; the next push brings it back.
"""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from packc.errors import PushError
from packc.ingest.fingerprint import hash_file
from packc.package.manifest_file import hash_files
from packc.package.model_config import print_config
from packc.package.publish import exchange_folders, locked_folder
from packc.package.schema import config_schema
from packc.push.release import Pushed, Release, ReleaseModel, pushed_members

log = logging.getLogger(__name__)

_STAGING_PREFIX = ".pack-push-"


class RepositoryFolder:
    """A model repository in a folder."""

    def accepts(self, destination: str) -> bool:
        return not urlsplit(destination).scheme

    def push(self, release: Release, destination: str) -> Pushed:
        """Adds or replaces the release's models; other models in the folder are not touched, and none where the very
        files are there.

        A server in poll mode takes the change up by itself; others when they are told to, or start again.
        """
        repository = Path(destination)
        _check_place(repository)
        with locked_folder(repository):
            _recover(repository / release.name)
            with _make_staging(repository) as staging:
                if (same := _find_same(repository, release)) is not None:
                    return Pushed(same, (), golden_requests=0)
                version = _next_version(repository / release.name)
                new = [member for member in release.members if not (repository / member.name).exists()]
                for member in new:
                    _write_model(member, staging / member.name, version=1)
                _write_model(release.entry, staging / release.name, version)
                obsolete = _obsolete_members(repository / release.name, release)
                added: list[Path] = []
                try:
                    for member in new:
                        (staging / member.name).rename(repository / member.name)
                        added.append(repository / member.name)
                    _replace(staging / release.name, repository / release.name)
                except BaseException:
                    for folder in added:
                        shutil.rmtree(folder, ignore_errors=True)
                    raise
                for name in obsolete:
                    shutil.rmtree(repository / name, ignore_errors=True)
        log.info("%s: '%s' is version %d", repository, release.name, version)
        return Pushed(version, (*(member.name for member in new), release.name), golden_requests=0)


def _check_place(repository: Path) -> None:
    if repository.exists() and not repository.is_dir():
        raise PushError(f"{repository} is a file, not a model repository", hint="give a folder")
    if (repository / "manifest.json").exists():
        raise PushError(
            f"{repository} is a package of pack, not a repository that servers read",
            hint=f"to serve this package alone, give servers {repository / 'model_repository'}",
        )
    try:
        repository.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise PushError(f"{repository} cannot be made: {error.strerror}") from error
    if not os.access(repository, os.W_OK | os.X_OK):
        raise PushError(f"{repository} is not writable", hint="change its permissions, or push as its owner")


@contextmanager
def _make_staging(repository: Path) -> Iterator[Path]:
    """A folder on the repository's file system, gone at exit; it also clears what killed pushes left.

    It lies beside the repository, or within it where that is a mount of its own: Triton takes every folder there for a
    model, and complains of this one if it looks just then.
    """
    beside = repository.resolve().parent
    is_one_system = beside.stat().st_dev == repository.stat().st_dev and os.access(beside, os.W_OK)
    place = beside if is_one_system else repository
    prefix = f"{_STAGING_PREFIX}{repository.resolve().name}-"
    for abandoned in place.glob(f"{prefix}*"):  # the repository is locked, so nobody else uses it
        shutil.rmtree(abandoned, ignore_errors=True)
    staging = Path(tempfile.mkdtemp(prefix=prefix, dir=place))
    try:
        yield staging
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _write_model(model: ReleaseModel, folder: Path, version: int) -> None:
    (folder / str(version)).mkdir(parents=True)
    for path, file in model.files_at(version).items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target)
        _sync(target)
    for name, config in _list_configs(model).items():
        file = folder / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(print_config(config))
        _sync(file)


def _replace(new: Path, final: Path) -> None:
    """Puts the folder `new` in the place of `final` in one step where the file system can."""
    if not final.exists():
        new.rename(final)
    elif not exchange_folders(new, final):
        previous = _previous(final)
        final.rename(previous)
        try:
            new.rename(final)
        except BaseException:
            previous.rename(final)
            raise
        shutil.rmtree(previous, ignore_errors=True)


def _recover(final: Path) -> None:
    """Mends what a push left that was killed between two renames; the repository is locked."""
    previous = _previous(final)
    if final.exists():
        shutil.rmtree(previous, ignore_errors=True)
    elif previous.exists():
        previous.rename(final)


def _previous(final: Path) -> Path:
    """The old model's folder while it makes way; never in staging, which the next push clears."""
    return final.with_name(f".{final.name}.previous")


def _next_version(model: Path) -> int:
    with suppress(FileNotFoundError):
        return max((int(path.name) for path in model.iterdir() if path.name.isdecimal()), default=0) + 1
    return 1


def _find_same(repository: Path, release: Release) -> int | None:
    """The version of the release where the repository has all of its files and no others; None where anything differs.

    Members have their content in their name.
    """
    entry, version = release.entry, _next_version(repository / release.name) - 1
    if not version or not all((repository / member.name).is_dir() for member in release.members):
        return None
    wanted = {path: hash_file(file) for path, file in entry.files_at(version).items()}
    texts = {path: print_config(config) for path, config in _list_configs(entry).items()}
    wanted |= {path: hashlib.sha256(text.encode()).hexdigest() for path, text in texts.items()}
    return version if hash_files(repository / release.name) == wanted else None


def _list_configs(model: ReleaseModel) -> dict[str, Any]:
    """Path in the model's folder -> configuration."""
    return {"config.pbtxt": model.config, **model.configs}


def _obsolete_members(model: Path, release: Release) -> set[str]:
    """Members that the model serving now was pushed with, and the new one is not made of."""
    from google.protobuf import text_format

    try:
        config = text_format.Parse((model / "config.pbtxt").read_text(), config_schema().ModelConfig())
    except (OSError, text_format.ParseError):
        return set()
    return pushed_members(config) - {member.name for member in release.members}


def _sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
