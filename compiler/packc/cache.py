"""A content-keyed store of finished work: each entry is a folder that appears whole or not at all, and then stays as it
is. The one of kernels' timings (packc.runtimes.tensorrt_compile) gains a better file now and then, whole as well.

Layout: `<root>/<kind>/<key>/`. An entry is made in a temporary folder beside it and renamed into place; a lock file
for each key lets two builds share one piece of work. The total size is capped; the entries used longest ago go first.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import logging
import math
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from packc.errors import UsageError

log = logging.getLogger(__name__)

DEFAULT_CAP_GIB = 20.0
IN_USE_S = 3600.0
"""An entry used more recently than this may still be read by a build that runs beside this one."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One finished piece of work in the cache. Times are seconds since the epoch."""

    kind: str
    key: str
    path: Path
    size_bytes: int
    used_at: float


class NotKept(Exception):
    """Carries a result out of `get_or_make` past the cache: what spoiled it may be gone the next time."""

    def __init__(self, result: Any) -> None:
        super().__init__("this result is not kept")
        self.result = result


def cache_key(**parts: object) -> str:
    """Hex digest of JSON-able `parts`; equal parts give equal keys whatever their order."""
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


class Cache:
    """The store below `root`; the default is `$PACK_CACHE_DIR`, else `$XDG_CACHE_HOME/packc`, else `~/.cache/packc`.

    Raises UsageError when `$PACK_CACHE_GIB` is not a size, and in use when the store cannot be written.
    """

    def __init__(self, root: Path | None = None) -> None:
        self.root = root or _default_root()
        self.cap_gib = _default_cap_gib()

    def get_or_make(
        self,
        kind: str,
        key: str,
        make: Callable[[Path], None],
        is_lasting: Callable[[Path], bool] = lambda _: True,
        *,
        reused: str = "",
    ) -> Path:
        """Folder of the entry; when it is missing, `make(folder)` fills a fresh one, which is then published.

        One that is there is told of in the words of `reused`, "minilm: exported before"; without a word where nobody
        was told of the work either when it was done. One that `is_lasting` refuses is the caller's alone: it has a name
        that nobody asks for again.
        Raises whatever `make` raises; nothing of a failed attempt stays, and what a killed one left goes with the next.
        """
        entry = self.root / kind / key
        with self._lock(kind, key):
            if entry.is_dir():
                if reused:
                    log.info("%s", reused)
                os.utime(entry)
                return entry
            for abandoned in entry.parent.glob(f".{key}-*"):  # its maker is dead: it would hold the lock
                shutil.rmtree(abandoned, ignore_errors=True)
            staging = Path(tempfile.mkdtemp(prefix=f".{key}-", dir=entry.parent))
            try:
                make(staging)
                if not is_lasting(staging):
                    entry = staging.with_name(staging.name.removeprefix("."))
                staging.rename(entry)
            except BaseException:
                shutil.rmtree(staging, ignore_errors=True)
                raise
        return entry

    def find(self, kind: str, key: str) -> Path | None:
        """Folder of the entry, which counts as used now, or None."""
        entry = self.root / kind / key
        try:
            os.utime(entry)
        except FileNotFoundError:
            return None
        return entry

    def entries(self) -> list[Entry]:
        """All finished entries, the one used longest ago first."""
        found = []
        for path in self.root.glob("*/[!.]*"):
            with suppress(FileNotFoundError):  # another process removed it meanwhile
                if path.is_dir():
                    found.append(Entry(path.parent.name, path.name, path, _size_bytes(path), path.stat().st_mtime))
        return sorted(found, key=lambda entry: entry.used_at)

    def collect_garbage(self, cap_gib: float | None = None, *, spare_s: float = 0.0) -> list[Entry]:
        """Removes abandoned attempts and, until the rest fits `cap_gib`, the entries used longest ago.

        The default cap is `$PACK_CACHE_GIB`, else 20. Entries used within the last `spare_s` seconds stay whatever
        the cap: another build may be reading them. Returns the removed entries.
        """
        cap_bytes = (self.cap_gib if cap_gib is None else cap_gib) * 2**30
        for path in self.root.glob("*/.*-*"):
            if path.is_dir():
                self._remove_abandoned(path)
        entries = self.entries()
        total = sum(entry.size_bytes for entry in entries)
        removed = []
        for entry in entries:
            if total <= cap_bytes or entry.used_at > time.time() - spare_s:
                break
            with self._lock(entry.kind, entry.key):
                shutil.rmtree(entry.path, ignore_errors=True)
            total -= entry.size_bytes
            removed.append(entry)
        return removed

    def _remove_abandoned(self, staging: Path) -> None:
        key = staging.name.removeprefix(".").rsplit("-", 1)[0]
        with self._lock(staging.parent.name, key, wait=False) as locked:
            if locked:
                shutil.rmtree(staging, ignore_errors=True)

    @contextmanager
    def _lock(self, kind: str, key: str, *, wait: bool = True) -> Iterator[bool]:
        with self._open_lock(self.root / kind, key) as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
                return
            yield True

    def _open_lock(self, folder: Path, key: str) -> TextIO:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            return (folder / f".{key}.lock").open("w")
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise
            raise UsageError(
                f"the cache at {self.root} cannot be written: {error.strerror}",
                hint="name a folder of yours with PACK_CACHE_DIR",
            ) from error


def _default_root() -> Path:
    if chosen := os.environ.get("PACK_CACHE_DIR"):
        return Path(chosen)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "packc"


def _default_cap_gib() -> float:
    chosen = os.environ.get("PACK_CACHE_GIB", "")
    try:
        cap_gib = float(chosen or DEFAULT_CAP_GIB)
    except ValueError:
        cap_gib = math.nan
    if not cap_gib >= 0:
        raise UsageError(f"PACK_CACHE_GIB is {chosen!r}, which is not a size", hint="give a number of GiB, such as 20")
    return cap_gib


def _size_bytes(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
