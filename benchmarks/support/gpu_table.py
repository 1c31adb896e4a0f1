"""The table of one shape as Markdown, and what it comes to: pack's fastest, the best peer, and the floor."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from packc.measure.peak import Peaks
from packc.measure.work import Work
from packc.roofline import find_floor
from packc.tensors import Precision
from support.gpu_rows import Failure, Row

MOST_ERROR = 0.01
"""Rows with a larger one are not compared, whoever's they are."""
PEERS: Precision = "fp16"
"""The precision of other people's rows."""

Time = Callable[[Row], float]


def show_table(shape: str, rows: Sequence[Row | Failure], base: str, compiled: str, work: Work, peaks: Peaks) -> str:
    """`base` is the row that ratios are against; the names of torch.compile's begin with `compiled`."""
    timed = [row for row in rows if isinstance(row, Row)]
    lines = [f"| {shape} | call, ms (x) | resident, ms (x) | spread of rounds | error |", "|---" * 5 + "|"]
    against = next((row for row in timed if row.name == base), None)
    for row in sorted(timed, key=lambda row: row.work_ms):
        spread = (max(row.work_times_ms) - min(row.work_times_ms)) / row.work_ms
        call = f"{row.call_ms:.3f} ({against.call_ms / row.call_ms:.2f})" if against else f"{row.call_ms:.3f}"
        resident = f"{row.work_ms:.3f} ({against.work_ms / row.work_ms:.2f})" if against else f"{row.work_ms:.3f}"
        lines.append(f"| {row.name} | {call} | {resident} | {spread:.0%} | {row.error:.1e} |")
    lines += [f"| {row.name} | failed: {row.reason} | | | |" for row in rows if isinstance(row, Failure)]
    floors = [sum_up(words, timed, time, compiled, work, peaks) for words, time in TIMES]
    return "\n".join([*lines, "", *floors])


TIMES: tuple[tuple[str, Time], ...] = (("Call", lambda row: row.call_ms), ("Resident", lambda row: row.work_ms))


def sum_up(words: str, rows: Sequence[Row], time: Time, compiled: str, work: Work, peaks: Peaks) -> str:
    """One line: which of pack's candidates is fastest by that time, and how it compares.

    Peers compute in fp16, so where another precision is faster, the fastest in fp16 is told, too.
    """
    right = [row for row in rows if row.error <= MOST_ERROR]
    candidates = [row for row in right if row.is_pack]
    ours = min(candidates, key=time, default=None)
    if ours is None:
        return f"- {words}: pack has no candidate."
    said = [f"- {words}: pack's fastest is {ours.name}, {time(ours):.3f} ms"]
    others = [row for row in right if not row.is_pack and not row.is_trick]
    theirs = min(others, key=time, default=None)
    if theirs:
        said.append(
            f"{time(theirs) / time(ours):.2f} x as fast as the best peer ({theirs.name}, {time(theirs):.3f} ms)"
        )
    equal = min((row for row in candidates if row.precision == PEERS), key=time, default=None)
    if theirs and equal and equal is not ours:
        said.append(f"in {PEERS}, {equal.name}, {time(equal):.3f} ms, {time(theirs) / time(equal):.2f} x")
    if best := min((row for row in others if row.name.startswith(compiled)), key=time, default=None):
        said.append(f"{time(best) / time(ours):.2f} x as fast as {compiled}")
    if trick := min((row for row in right if row.is_trick), key=time, default=None):
        said.append(f"{time(trick) / time(ours):.2f} x as fast as {trick.name}")
    if floor := find_floor(work, ours.precision, peaks, weights=ours.precision):
        unit = "GFLOP/s" if floor.bound == "compute" else "GB/s"
        said.append(
            f"the floor, {floor.ms:.3f} ms (estimated: {floor.rate:.0f} {unit} {floor.precision} {peaks.source}), "
            f"is {floor.ms / time(ours):.2f} of it"
        )
    return "; ".join(said) + "."
