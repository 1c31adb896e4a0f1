"""Spec -> one TargetSpec a target: the common sections with that target's overrides applied key by key."""

from __future__ import annotations

from typing import Any

from packc.spec.model import Spec, TargetSpec
from packc.spec.section import Section

OVERRIDABLE = ("workload", "budget", "quality", "calibration", "optimize", "serve")
_ALTERNATIVES = ("min", "max_drop")
"""Bounds of [quality] of which only one can hold: an override of one replaces the other."""


def resolve_targets(spec: Spec) -> tuple[TargetSpec, ...]:
    """What each target is built from, in the order of the file.

    Raises pydantic's ValidationError when an override contradicts a common value; `read_spec` has ruled that out.
    """
    return tuple(resolve_target(spec, name) for name in spec.targets)


def resolve_target(spec: Spec, name: str) -> TargetSpec:
    """The same for the target `name`."""
    target = spec.targets[name]
    sections: dict[str, object] = {}
    for section in OVERRIDABLE:
        common = getattr(spec, section).model_dump()
        override: Section | None = getattr(target, section)
        own = override.model_dump(exclude_unset=True) if override else {}
        if section == "quality" and any(key in own for key in _ALTERNATIVES):
            common = {key: value for key, value in common.items() if key not in _ALTERNATIVES}
        sections[section] = _merge(common, own)
    return TargetSpec.model_validate(
        {"target": name, "profile": target.profile, "model": spec.model.model_dump(), **sections}
    )


def _merge(common: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    merged = dict(common)
    for key, value in own.items():
        below = merged.get(key)
        merged[key] = _merge(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
    return merged
