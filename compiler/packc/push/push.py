"""Pushes a package to a destination: the literal list of kinds of destinations, and what each has to do.

A kind is one file with a class and one line here. Fleets, canaries and rollback are further kinds or further steps of
one; they need no more of a release than `Release` tells.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from packc.errors import PackError, PushError, UsageError
from packc.push.folder import RepositoryFolder
from packc.push.live_server import LiveServer
from packc.push.release import Pushed, Release, read_release

log = logging.getLogger(__name__)


class Destination(Protocol):
    """A kind of place that takes packages."""

    def accepts(self, destination: str) -> bool:
        """Whether `destination` is written like one of this kind."""

    def push(self, release: Release, destination: str) -> Pushed:
        """Makes `release` what `destination` serves, all of it or nothing: after an error it serves what it did."""


DESTINATIONS: tuple[Destination, ...] = (LiveServer(), RepositoryFolder())
"""The first that accepts a destination takes it."""


@dataclass(frozen=True, slots=True)
class PushResult:
    """What a push did."""

    destination: str
    model: str
    version: int
    """Version of `model` that serves now."""
    models: tuple[str, ...]
    """Models that were sent, in order; what was there already is not among them, so that there are none where the
    destination served this very package before."""
    golden_requests: int
    """Golden requests that the destination answered; 0 for a folder, which answers none."""
    seconds: float


def push_package(package: Path, destination: str) -> PushResult:
    """Checks the package in the folder `package` and pushes it to `destination`.

    `destination` is a folder that servers read their models from, or the address of a server with explicit model
    control (`http://host:port`, `grpc://host:port`). Raises PushError when it was not taken; what was served before
    still is.
    """
    started = time.monotonic()
    kind = next((kind for kind in DESTINATIONS if kind.accepts(destination)), None)
    if kind is None:
        raise UsageError(
            f"{destination!r} is no place that pack can push to",
            hint="give the folder of a model repository, http://HOST:8000 or grpc://HOST:8001",
        )
    release = read_release(package)
    try:
        pushed = kind.push(release, destination)
    except (PushError, UsageError):
        raise
    except (PackError, OSError) as error:
        hint = error.hint if isinstance(error, PackError) else None
        raise PushError(f"{destination} did not take '{release.name}': {error}", hint=hint) from error
    return PushResult(
        destination=destination,
        model=release.name,
        version=pushed.version,
        models=pushed.models,
        golden_requests=pushed.golden_requests,
        seconds=time.monotonic() - started,
    )
