"""Puts a finished package in its place at once, so that a build that dies at any moment leaves the last good one.

A package is made in a staging folder beside its final place, synced to disk, and exchanged with what is there.

    <parent>/.<name>.staging-<random>   being made; its maker holds a lock on it, so a folder without one is debris
    <parent>/.<name>.previous           the last good package, for the moment between two renames, only where the
                                        file system cannot exchange two folders

The parent folder itself is locked while these names change hands, which takes milliseconds: two builds of one target
run side by side and the later one to finish stays.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from packc.errors import PackError, UsageError
from packc.package.manifest_file import MANIFEST

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2
_FULL = (errno.ENOSPC, errno.EDQUOT)


@contextmanager
def staging_dir(final: Path) -> Iterator[Path]:
    """An empty folder beside `final`, gone after the block whatever happens in it, unless `publish` moved it.

    First mends what killed builds left. Raises UsageError when `final` cannot be a package's place, PackError when
    the disk fills up inside the block.
    """
    _check_place(final)
    made = _make_parents(final.parent)
    try:
        staging, handle = _make_staging(final)
        try:
            yield staging
        except OSError as error:
            if error.errno in _FULL:
                raise _explain(error, final) from error
            raise
        finally:
            os.close(handle)
            shutil.rmtree(staging, ignore_errors=True)
    finally:
        _remove_if_empty(made)


def publish(staging: Path, final: Path) -> None:
    """Makes `staging` (from `staging_dir(final)`) the package at `final`, replacing a package that is there."""
    _sync_tree(staging)
    with locked_folder(final.parent):
        if not final.exists():
            staging.rename(final)
        elif exchange_folders(staging, final):
            shutil.rmtree(staging, ignore_errors=True)
        else:
            previous = _previous(final)
            final.rename(previous)
            staging.rename(final)
            shutil.rmtree(previous, ignore_errors=True)
        _sync(final.parent)


@contextmanager
def locked_folder(folder: Path) -> Iterator[None]:
    """Waits for and holds the lock on an existing folder; it ends with the process, whatever ends that."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _check_place(final: Path) -> None:
    if final.is_dir() and not final.is_symlink():
        if any(final.iterdir()) and not (final / MANIFEST).is_file():
            raise UsageError(
                f"{final} holds files that are not a package of pack, so it will not be replaced",
                hint="choose another --out, or move them away",
            )
    elif final.exists() or final.is_symlink():
        raise UsageError(f"{final} is not a folder", hint="choose another --out")


def _make_parents(folder: Path) -> list[Path]:
    """Makes `folder` and returns the folders that were new, deepest first."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _explain(error, folder) from error
    return missing


def _make_staging(final: Path) -> tuple[Path, int]:
    """(a fresh staging folder, the handle that holds its lock)."""
    try:
        with locked_folder(final.parent):
            _recover(final)
            staging = Path(tempfile.mkdtemp(prefix=f".{final.name}.staging-", dir=final.parent))
            staging.chmod(0o755)
            handle = os.open(staging, os.O_RDONLY)
            fcntl.flock(handle, fcntl.LOCK_EX)
            return staging, handle
    except OSError as error:
        raise _explain(error, final.parent) from error


def _remove_if_empty(folders: list[Path]) -> None:
    for folder in folders:
        try:
            folder.rmdir()
        except OSError:
            return


def _recover(final: Path) -> None:
    """Mends what a killed build left; the parent is locked."""
    previous = _previous(final)
    if previous.is_dir():
        if final.exists():
            shutil.rmtree(previous, ignore_errors=True)
        else:
            previous.rename(final)
    for staging in final.parent.glob(f".{final.name}.staging-*"):
        if (handle := _try_lock(staging)) is not None:
            shutil.rmtree(staging, ignore_errors=True)
            os.close(handle)


def _previous(final: Path) -> Path:
    return final.parent / f".{final.name}.previous"


def _try_lock(folder: Path) -> int | None:
    """A handle that holds the lock on `folder`, or None when another process has it."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        return None
    return handle


def exchange_folders(one: Path, other: Path) -> bool:
    """Swaps two folders in one step; False where the system or the file system cannot."""
    try:
        renameat2 = ctypes.CDLL(None, use_errno=True).renameat2
    except AttributeError:
        return False
    done = renameat2(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE)
    if done != 0 and (code := ctypes.get_errno()) not in (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP):
        raise OSError(code, os.strerror(code), str(other))
    return bool(done == 0)


def _sync_tree(folder: Path) -> None:
    for path in folder.rglob("*"):
        _sync(path)
    _sync(folder)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _explain(error: OSError, place: Path) -> PackError:
    if error.errno in _FULL:  # error.filename may be the file that was copied
        return PackError(
            f"the disk is full: {place} could not be written; nothing was published",
            hint="free some space, or choose another --out; `pack cache gc` frees what the cache keeps",
        )
    standing = next((path for path in (place, *place.parents) if path.exists()), place)
    if not standing.is_dir():
        return UsageError(f"{standing} is not a folder", hint="choose another --out")
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOENT):  # ENOENT: /proc and its like
        return UsageError(f"{standing} is not writable", hint="choose another --out, or change its permissions")
    return PackError(f"{place} could not be written: {error}")
