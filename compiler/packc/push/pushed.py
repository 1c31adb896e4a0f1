"""What a destination reports of a push."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Pushed:
    """The release is what the destination serves."""

    version: int
    models: tuple[str, ...]
    """Models that were sent, in order."""
    golden_requests: int
    """Golden requests that it answered."""
