"""What the README of a combined package says: which GPU gets which artifact, and how its server is started."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from packc.package.combined_ways import describe_missed, find_unflagged, list_faults, say_ways
from packc.package.docker import BRINGS_CODE_FLAG
from packc.package.manifest import CombinedRecord
from packc.package.render import render_template


def write_readme(
    text: str, model: str, name: str, base: str, records: Sequence[CombinedRecord], bringing: Collection[str] = ()
) -> str:
    """The README of the combined package `name`: `text`, the base's own, below what is said of all the targets."""
    rest = text.partition("\n")[2]  # without its title
    said = [
        *say_ways(records),
        *(f"Note: {fault}." for fault in list_faults(records)),
        f"The section [Several GPUs](#several-gpus) has the commands; what stands before it is about `{base}`.",
    ]
    head = f"# {model} for several GPUs: {name}\n\n{' '.join(said)}\n"
    return f"{head}{rest}\n{describe_targets(records, base, bringing)}"


def describe_targets(records: Sequence[CombinedRecord], base: str, bringing: Collection[str] = ()) -> str:
    """A section of markdown; `records` are of all targets, `base` is the one that the rest of the README is about, and
    the engines of those in `bringing` have code of their own."""
    by_name = [record for record in records if record.chosen_by == "config name"]
    return render_template(
        "combined_readme.md.j2",
        base=base,
        served=[(record, describe_missed(record)) for record in records if record.file],
        left=[record for record in records if not record.file],
        bringing=[] if base in bringing else bringing,  # else the command above has the flag already
        flag=BRINGS_CODE_FLAG,
        by_name=[(record.target, find_unflagged(record, records).target) for record in by_name],
    )
