"""What the README of a combined package says: which GPU gets which artifact, and how its server is started."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from packc.package.docker import BRINGS_CODE_FLAG
from packc.package.manifest import CombinedRecord
from packc.package.render import render_template


def describe_targets(records: Sequence[CombinedRecord], base: str, bringing: Collection[str] = ()) -> str:
    """A section of markdown; `records` are of all targets, `base` is the one that the rest of the README is about, and
    the engines of those in `bringing` have code of their own."""
    return render_template(
        "combined_readme.md.j2",
        base=base,
        served=[record for record in records if record.file],
        left=[record for record in records if not record.file],
        bringing=[] if base in bringing else bringing,  # else the command above has the flag already
        flag=BRINGS_CODE_FLAG,
        by_name=[record.target for record in records if record.chosen_by == "config name"],
    )
