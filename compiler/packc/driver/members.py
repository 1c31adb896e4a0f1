"""The targets of a combined package, as their own builds left them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from packc.errors import UsageError
from packc.package.manifest import Manifest
from packc.package.manifest_file import read_manifest
from packc.target import Target

REPOSITORY = "model_repository"


@dataclass(frozen=True, slots=True)
class Member:
    """One target of a combined package, as its own build left it."""

    target: str
    profile: Target
    folder: Path
    manifest: Manifest

    @property
    def has_package(self) -> bool:
        return (self.folder / REPOSITORY).is_dir() and self.manifest.verdict.chosen is not None


def read_members(targets: Sequence[tuple[str, Target]], folder: Path) -> tuple[list[Member], list[tuple[str, Target]]]:
    """The targets that a build has been at, and those that none has."""
    members, missing = [], []
    for target, profile in targets:
        try:
            members.append(Member(target, profile, folder / target, read_manifest(folder / target)))
        except UsageError:
            missing.append((target, profile))
    return members, missing
