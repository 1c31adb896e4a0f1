"""Reads and writes manifest.json, and checks a package against the hashes in it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from packc.errors import UsageError
from packc.ingest.fingerprint import hash_file
from packc.package.manifest import SCHEMA, Manifest

MANIFEST = "manifest.json"
UNHASHED = frozenset({MANIFEST, "report.html"})
"""Files that are written after the hashes, or hold them."""


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Writes `manifest` as `folder`/manifest.json, the schema number first.

    Raises ValueError for a figure that is not finite, since JSON has no such number.
    """
    record = dataclasses.asdict(manifest)
    document = {"schema": record.pop("schema"), **record}
    (folder / MANIFEST).write_text(json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_manifest(folder: Path) -> Manifest:
    """The manifest of the package in `folder`. Raises UsageError when there is none or this pack cannot read it."""
    path = folder / MANIFEST
    try:
        text = path.read_text()
    except OSError as error:
        raise UsageError(
            f"{folder} is not a package: {path.name} cannot be read ({error.strerror})",
            hint="give the folder of one target, as in build/<model>/<target>",
        ) from error
    try:
        document = json.loads(text)
    except ValueError as error:
        raise UsageError(f"{path} is not JSON: {error}", hint="build the package again") from error
    if not isinstance(document, dict) or "schema" not in document:
        raise UsageError(f"{path} is not a manifest: it says no schema", hint="build the package again")
    if document["schema"] != SCHEMA:
        raise UsageError(
            f"{path} has schema {document['schema']}, this pack reads schema {SCHEMA}",
            hint="use the pack that built it, or build it again",
        )
    try:
        return TypeAdapter(Manifest).validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise UsageError(
            f"{path} is not a manifest: {where}: {first['msg']} ({error.error_count()} such mistakes)",
            hint="build the package again",
        ) from error


def hash_files(folder: Path) -> dict[str, str]:
    """Path relative to `folder` -> sha256 of every file but the manifest and the report, sorted."""
    return {path: hash_file(folder / path) for path in _hashed_paths(folder)}


def check_files(folder: Path, manifest: Manifest) -> list[str]:
    """What differs between `folder` and the manifest's hashes: one sentence a file; empty when all is as built."""
    present = set(_hashed_paths(folder))
    problems = []
    for path, expected in manifest.files.items():
        if path not in present:
            problems.append(f"{path} is missing")
        elif hash_file(folder / path) != expected:
            problems.append(f"{path} was changed after it was built")
    problems += [f"{path} was added after the package was built" for path in sorted(present - set(manifest.files))]
    return problems


def _hashed_paths(folder: Path) -> Iterator[str]:
    files = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    built = (path for path in sorted(files) if "__pycache__" not in path.parts)  # a server leaves that there
    return (path.as_posix() for path in built if path.as_posix() not in UNHASHED)
