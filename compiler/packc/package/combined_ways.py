"""Which artifact of a combined package a server takes, and what is wrong with the package as it stands, in words."""

from __future__ import annotations

from collections.abc import Sequence

from packc.package.manifest import CombinedRecord

_BOUND = (".plan", ".pt2")
"""Endings of artifacts that are compiled for one kind of GPU; graphs load on any."""
_SIDE = {"quality": "its quality bound"}
"""What a promise belongs to, where that is not the budget."""


def find_unflagged(record: CombinedRecord, records: Sequence[CombinedRecord]) -> CombinedRecord:
    """Whose artifact a server on the GPU of `record` takes without --model-config-name: `records` are of all targets,
    the base first, which is what servers take where no file is named for their compute capability."""
    named = (
        other
        for other in records
        if other.chosen_by == "compute capability" and other.compute_capability == record.compute_capability
    )
    return next(named, records[0])


def say_ways(records: Sequence[CombinedRecord]) -> list[str]:
    """How servers of all targets come to their artifacts, in sentences of markdown."""
    by_itself = [f"`{record.target}`" for record in records if record.file and record.chosen_by != "config name"]
    said = [f"A server takes the artifact of its GPU by itself for {', '.join(by_itself)}."]
    for record in records:
        if record.file and record.chosen_by == "config name":
            other = find_unflagged(record, records)
            is_bound = (other.file or "").endswith(_BOUND)
            said.append(
                f"For `{record.target}` it needs the flag `--model-config-name={record.target}`: without it, a server "
                f"there takes the artifact of `{other.target}`, "
                f"{'which may refuse to load on that GPU' if is_bound else 'and no error says so'}."
            )
    return said


def describe_missed(record: CombinedRecord) -> str:
    """`misses its budget (latency_ms)`; empty where its own package keeps every promise or could not be judged."""
    sides: dict[str, list[str]] = {}
    for promise in record.missed:
        sides.setdefault(_SIDE.get(promise, "its budget"), []).append(promise)
    return " and ".join(f"misses {side} ({', '.join(promises)})" for side, promises in sides.items())


def list_faults(records: Sequence[CombinedRecord]) -> list[str]:
    """What is wrong with the package, though servers load it: it holds one artifact, or what misses a promise."""
    served = [record for record in records if record.file]
    faults = [f"{record.target} {missed}" for record in served if (missed := describe_missed(record))]
    if len(served) == 1:
        others = "; ".join(f"{record.target}: {record.remark}" for record in records if not record.file)
        faults.insert(0, f"the package has the artifact of {served[0].target} alone ({others})")
    return faults
