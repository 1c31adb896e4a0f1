"""What is wrong with the names in [combine], each at its place: they are of the spec's own targets."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from packc.toml.explain import suggest
from packc.toml.places import Loc

Report = Callable[[Loc, str, str | None], None]
"""Takes the place of a bad value, the message and the hint."""


def check_groups(document: Mapping[str, Any], report: Report) -> None:
    """Reports what the groups of `document`, a parsed spec, name in vain.

    Values of a wrong type are left alone: validation speaks of them.
    """
    groups, targets = document.get("combine"), document.get("targets")
    if not isinstance(groups, dict) or not isinstance(targets, dict):
        return
    for name, group in groups.items():
        place: Loc = ("combine", name)
        if name in targets:
            report(
                place, f'[combine] "{name}" is the name of a target, whose folder it would take', "name it otherwise"
            )
        elif isinstance(group, tuple) and all(isinstance(member, str) for member in group):
            for index, message, hint in _find_mistakes(group, targets):
                at = place if index is None else (*place, index)
                report(at, f"[combine] {name}: {message}", hint)


def _find_mistakes(group: tuple[str, ...], targets: Mapping[str, Any]) -> Iterator[tuple[int | None, str, str | None]]:
    """(index of the member, message, hint); the index is None where it is about the whole group."""
    for index, member in enumerate(group):
        if member not in targets:
            yield index, f'there is no target "{member}"', _suggest_target(member, targets)
        elif member in group[:index]:
            yield index, f'"{member}" is in it twice', None
    if len(group) < 2:
        yield None, "it needs two targets or more", f"the spec has {', '.join(targets)}"


def _suggest_target(member: str, targets: Mapping[str, Any]) -> str:
    """The target that was meant: by its profile, or by a name that is near; all of them where neither tells."""
    for name, section in targets.items():
        if isinstance(section, dict) and section.get("profile") == member:
            return f'did you mean "{name}", the target with that profile?'
    return suggest(member, targets) or f"the spec has {', '.join(targets)}"
