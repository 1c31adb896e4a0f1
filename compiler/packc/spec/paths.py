"""Makes the paths within a spec absolute, and finds those that lead nowhere."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from packc.spec.model import Spec
from packc.spec.resolve import OVERRIDABLE
from packc.toml.explain import label_place, suggest
from packc.toml.file import resolve_path
from packc.toml.places import Loc

_FACTORY = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")
_HUB_ID = re.compile(r"[\w.-]+(/[\w.-]+)?")

Report = Callable[[Loc, str, str | None], None]
"""Takes the place of a bad value, the message and the hint."""


def resolve_paths(document: dict[str, Any], folder: Path, report: Report) -> None:
    """Replaces the paths of `document`, a parsed spec, by absolute ones; `folder` holds the spec file.

    Values of a wrong type are left alone: validation speaks of them.
    """
    model = document.get("model")
    if isinstance(model, dict) and isinstance(source := model.get("source"), str) and source:
        model["source"] = _check_source(source, folder, report)
    for loc, section in _find_sections(document):
        if isinstance(data := section.get("data"), str):
            section["data"] = _resolve_existing((*loc, "data"), data, folder, report)
        distill = section.get("distill")
        if isinstance(distill, dict) and isinstance(data := distill.get("data"), str):
            distill["data"] = _resolve_existing((*loc, "distill", "data"), data, folder, report)


def resolve_source(source: str, folder: Path) -> str:
    """`source` as `[model] source` means it: a path that exists made absolute, anything else as it stands."""
    path = resolve_path(folder, source)
    return str(path) if path.exists() else source


def _check_source(source: str, folder: Path, report: Report) -> str:
    resolved = resolve_source(source, folder)
    loc: Loc = ("model", "source")
    if resolved != source:
        return resolved
    if source.startswith(("./", "../", "/", "~")) or source.endswith(".onnx"):
        return _resolve_existing(loc, source, folder, report)
    if not _FACTORY.fullmatch(source) and not _HUB_ID.fullmatch(source):
        hint = 'a checkpoint folder or an .onnx file that exists, a hub id ("owner/name"), or "package.module:factory"'
        report(loc, f'{label_place(loc, Spec)}: "{source}" names no model', hint)
    return source


def _resolve_existing(loc: Loc, value: str, folder: Path, report: Report) -> str:
    path = resolve_path(folder, value)
    if not path.exists():
        siblings = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
        hint = suggest(path.name, siblings) or f"it was looked for at {path}"
        report(loc, f'{label_place(loc, Spec)}: "{value}" does not exist', hint)
    return str(path)


def _find_sections(document: dict[str, Any]) -> Iterator[tuple[Loc, dict[str, Any]]]:
    targets = document.get("targets")
    owners: list[tuple[Loc, object]] = [((), document)]
    owners += [(("targets", name), target) for name, target in targets.items()] if isinstance(targets, dict) else []
    for loc, owner in owners:
        for name in OVERRIDABLE:
            section = owner.get(name) if isinstance(owner, dict) else None
            if isinstance(section, dict):
                yield (*loc, name), section
