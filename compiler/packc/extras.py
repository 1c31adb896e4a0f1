"""The libraries that pack uses beyond its core: which extra brings each, which versions it takes, what is installed."""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib import metadata

EXTRAS = ("cpu", "server")
"""Extras that a user needs; the others of pyproject.toml are for work on pack itself."""

_REQUIREMENT = re.compile(r"([\w.-]+)(?:\[[^\]]*\])?\s*([^;]*);.*extra == ['\"](\w+)['\"]")
_BOUND = re.compile(r"(==|>=|<)\s*([\d.]+)")
_IMPORT_NAMES = {"pillow": "PIL"}


@dataclass(frozen=True, slots=True)
class Library:
    """One library of an extra."""

    name: str
    extra: str
    wanted: str
    """Versions that pack takes, as pip writes them: ">=2.11,<2.16"; empty for any."""
    version: str | None
    """None when it is not installed."""

    @property
    def is_ready(self) -> bool:
        return self.version is not None and matches(self.version, self.wanted)


def list_libraries() -> tuple[Library, ...]:
    """The libraries of all `EXTRAS`, from pack's own metadata; none is imported."""
    found = []
    for requirement in metadata.requires("packc") or ():
        if (match := _REQUIREMENT.match(requirement)) and match[3] in EXTRAS:
            found.append(Library(match[1], match[3], match[2].strip(), _find_version(match[1])))
    return tuple(found)


def find_extra(module: str | None) -> str | None:
    """The extra that brings the top-level package of `module`, or None."""
    top = (module or "").split(".")[0]
    return next((lib.extra for lib in list_libraries() if _IMPORT_NAMES.get(lib.name, lib.name) == top), None)


def matches(version: str, wanted: str) -> bool:
    """Whether `version` keeps the bounds `wanted` (==, >=, <), by its numbers alone: "2.13.0+cpu" counts as 2.13.0."""
    tests = {"==": int.__eq__, ">=": int.__ge__, "<": int.__lt__}
    return all(tests[sign](_compare(version, bound), 0) for sign, bound in _BOUND.findall(wanted))


def _compare(version: str, bound: str) -> int:
    ours, theirs = (_numbers(text) for text in (version, bound))
    return (ours > theirs) - (ours < theirs)


def _numbers(version: str) -> tuple[int, ...]:
    found = re.match(r"\d+(\.\d+)*", version)
    parts = [int(part) for part in found[0].split(".")] if found else []
    while parts and parts[-1] == 0:
        parts.pop()
    return tuple(parts)


def _find_version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
