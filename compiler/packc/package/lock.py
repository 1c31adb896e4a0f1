"""pack.lock: everything that one build was made of, so that another machine can tell whether it made the same."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path

from packc.package.publish import locked_folder

LOCK = "pack.lock"
SCHEMA = 1


@dataclass(frozen=True, slots=True)
class LockedInput:
    """A file or folder that the build read."""

    role: str
    """"spec", "model", "quality data", "calibration data", "workload data"."""
    location: str
    revision: str | None
    sha256: str


@dataclass(frozen=True, slots=True)
class LockedTarget:
    """What was chosen for one target, and the hash of what came of it."""

    target: str
    profile: str
    build_key: str
    """Digest of all that the build depends on."""
    candidate: str | None
    """None when nothing was published."""
    runtime: str | None
    precision: str | None
    passes: tuple[str, ...]
    instances: int | None
    threads: int | None
    max_batch_size: int | None
    queue_delay_us: int | None
    preferred_batch_sizes: tuple[int, ...]
    front: str | None
    cuda_graphs: bool | None
    files: dict[str, str]
    """Path within the package -> sha256."""


@dataclass(frozen=True, slots=True)
class PackLock:
    """The whole file."""

    model: str
    inputs: tuple[LockedInput, ...]
    versions: dict[str, str]
    """Tool, runtime and Python versions."""
    targets: tuple[LockedTarget, ...]
    schema: int = SCHEMA


def write_lock(build_dir: Path, lock: PackLock) -> None:
    """Replaces `build_dir`/pack.lock at once: a reader sees the old file or the new one."""
    record = dataclasses.asdict(lock)
    text = json.dumps({"schema": record.pop("schema"), **record}, indent=2, ensure_ascii=False) + "\n"
    with locked_folder(build_dir):
        staging = build_dir / f".{LOCK}.new"
        staging.write_text(text)
        staging.replace(build_dir / LOCK)
