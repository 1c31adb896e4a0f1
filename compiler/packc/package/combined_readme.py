"""What the README of a combined package says: which GPU gets which artifact, and how its server is started."""

from __future__ import annotations

from collections.abc import Sequence

from packc.package.manifest import CombinedRecord
from packc.package.render import render_template


def describe_targets(records: Sequence[CombinedRecord], base: str) -> str:
    """A section of markdown; `records` are of all targets, `base` is the one that the rest of the README is about."""
    return render_template(
        "combined_readme.md.j2",
        base=base,
        served=[record for record in records if record.file],
        left=[record for record in records if not record.file],
        by_name=[record.target for record in records if record.chosen_by == "config name"],
    )
