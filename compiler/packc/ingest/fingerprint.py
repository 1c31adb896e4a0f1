"""sha256 of a model's files, remembered by their stat so that a warm build does not read 0.4 GB again."""

from __future__ import annotations

import hashlib
import json
import logging
import tempfile
from collections.abc import Iterable
from pathlib import Path

from packc.cache import Cache

log = logging.getLogger(__name__)

MEMO_ENTRIES = 1000
"""The hashes kept at most; the oldest go first."""


def fingerprint_files(files: Iterable[Path], root: Path) -> str:
    """Hex sha256 over the names (relative to `root`) and contents of `files`, whatever their order.

    Hashes are remembered in `<cache>/hashes.json` under path, size, modification time and inode.
    """
    memo_path = Cache().root / "hashes.json"
    memo = _read_memo(memo_path)
    learned = False
    digest = hashlib.sha256()
    for file in sorted(files):
        key = _stat_key(file)
        if key not in memo:
            memo[key] = hash_file(file)
            learned = True
        digest.update(f"{file.relative_to(root).as_posix()}\0{memo[key]}\n".encode())
    if learned:
        _write_memo(memo_path, memo)
    return digest.hexdigest()


def hash_file(path: Path) -> str:
    """Hex sha256 of the file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _stat_key(path: Path) -> str:
    stat = path.stat()
    return f"{path.resolve()}|{stat.st_size}|{stat.st_mtime_ns}|{stat.st_ino}"


def _read_memo(path: Path) -> dict[str, str]:
    try:
        memo = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return memo if isinstance(memo, dict) else {}


def _write_memo(path: Path, memo: dict[str, str]) -> None:
    """Replaces the memo whole; a cache that cannot be written only costs the next build some hashing."""
    kept = dict(list(memo.items())[-MEMO_ENTRIES:])
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=path.parent, prefix=".hashes-", delete=False) as file:
            json.dump(kept, file)
        Path(file.name).replace(path)
    except OSError as error:
        log.debug("hashes are not remembered: %s", error)
