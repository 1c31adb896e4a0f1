"""What job bundles are made of, part by part, so that bundles of another build can say what changed since."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace

from packc.cache import cache_key
from packc.ingest.source import SourceInfo
from packc.spec.model import TargetSpec
from packc.target import Target

OF_RESULTS: Mapping[str, bool | set[str]] = {"budget": True, "serve": True, "optimize": {"goal"}}
"""What a spec says of results alone: how those that job bundles bring are judged, chosen among and served."""

KEYS: Mapping[str, str] = {"target": "the target's name", "profile": "the profile's name"}
"""What is no section of a target's spec; the others are called by their names."""

ANY_PART = "the spec, its data, the model or a version"


def digest_parts(
    spec: TargetSpec,
    target: Target,
    info: SourceInfo,
    source_digest: str,
    data: Sequence[str],
    versions: Mapping[str, str],
) -> dict[str, str]:
    """Part -> its digest; parts are named as a sentence about them begins. `data` are digests of samples."""
    sections = spec.model_dump(mode="json", exclude=OF_RESULTS)
    notes = tuple(note for note in target.notes if note not in target.warnings)
    # for that goal alone a plan has further candidates
    sections["optimize"]["is_for_size"] = spec.optimize.goal == "size"
    parts: dict[str, object] = {KEYS.get(key, f"[{key}]"): value for key, value in sections.items()}
    parts["the profile"] = asdict(replace(target, notes=notes, warnings=()))
    parts[name_model(info)] = source_digest
    parts["the data"] = list(data)
    parts["a version of pack or a library"] = dict(versions)
    parts["the machine that builds"] = platform.node()
    return {name: cache_key(part=part) for name, part in parts.items()}


def name_model(info: SourceInfo) -> str:
    """How the model is called as a part: whose code counts is a surprise."""
    if info.origin == "torch":
        return "the model (of a factory all code and weights in its package or folder count)"
    return "the model"


def describe_changes(before: Mapping[str, str], now: Mapping[str, str]) -> str:
    """The parts that differ, as the subject of "changed"; any of them where nobody knows what was there before."""
    changed = [name for name in {**now, **before} if before.get(name) != now.get(name)]
    if not before or not changed:
        return ANY_PART
    *others, last = changed
    return f"{', '.join(others)} and {last}" if others else last
