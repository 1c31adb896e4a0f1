"""What a report says of the candidates, apart from how it looks: their standing, their figures, what is missing.

The terminal and the page are both written from here, so they cannot disagree.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from packc.candidate import Rejection, group_rejections
from packc.package.insight import LimitRecord
from packc.package.manifest import (
    CandidateRecord,
    Manifest,
    MeasurementRecord,
    QualityRecord,
    ServedRecord,
)
from packc.report.figures import MISSING, show_figure, show_quality, show_share
from packc.roofline import OF_PROFILE
from packc.select import NOT_JUDGED
from packc.spec.model import ERROR_METRICS

Standing = Literal[
    "chosen", "kept", "over budget", "outpaced", "below quality", "not timed", "not judged", "not run", "failed"
]
STANDINGS: tuple[Standing, ...] = get_args(Standing)
"""Best first: the order of candidates in a report."""

OUTPACED = "others were ahead in a few calls: not timed for long"

_STANDING_OF_STATUS: dict[str, Standing] = {
    "chosen": "chosen",
    "kept": "kept",
    "budget_missed": "over budget",
    "outpaced": "outpaced",
    "quality_missed": "below quality",
    "not_run": "not run",
    "failed": "failed",
}


@dataclass(frozen=True, slots=True)
class Row:
    """One candidate as a report shows it."""

    key: str
    """"A", "B", ...: its name where there is no room for more."""
    label: str
    """The id, without the runtime's name where all candidates have the same runtime."""
    record: CandidateRecord
    standing: Standing
    words: str
    """The standing, and what else is to be said of it: "chosen, over budget"."""
    why_missing: str
    """Why its missing figures are missing."""

    @property
    def is_chosen(self) -> bool:
        return self.standing == "chosen"

    @property
    def quality(self) -> QualityRecord | None:
        return self.record.measurements.quality if self.record.measurements else None


def make_rows(manifest: Manifest) -> tuple[Row, ...]:
    """The candidates, best standing first; in the order of the manifest within one standing."""
    ranked = sorted(manifest.candidates, key=lambda record: STANDINGS.index(_find_standing(record, manifest)))
    has_one_runtime = len({record.runtime for record in ranked}) == 1
    labels = [record.id.removeprefix(f"{record.runtime}-") if has_one_runtime else record.id for record in ranked]
    return tuple(
        _make_row(_make_key(i), label, record, manifest)
        for i, (label, record) in enumerate(zip(labels, ranked, strict=True))
    )


def find_chosen(manifest: Manifest) -> CandidateRecord | None:
    """The record of the chosen candidate, or None."""
    return next((record for record in manifest.candidates if record.id == manifest.verdict.chosen), None)


def find_served(manifest: Manifest) -> CandidateRecord | None:
    """The candidate that the served figures are of: the chosen one, or the nearest where none was chosen."""
    nearest = manifest.verdict.nearest
    name = manifest.verdict.chosen or (nearest[0].candidate if nearest else None)
    return next((record for record in manifest.candidates if manifest.served and record.id == name), None)


def describe_outcome(manifest: Manifest) -> str:
    """The verdict in one line: `onnxruntime-int8-dynamic keeps every promise`."""
    verdict = manifest.verdict
    if verdict.met is None:
        return "the promises could not be judged here"
    if verdict.chosen is None:
        return "no candidate keeps every promise"
    return f"{verdict.chosen} {'keeps every promise' if verdict.met else 'was chosen although it misses a promise'}"


def find_broken(manifest: Manifest) -> frozenset[str]:
    """The promises that the chosen candidate breaks: "latency_ms", "quality", ..."""
    verdict = manifest.verdict
    return frozenset(miss.promise for miss in verdict.nearest if miss.candidate == verdict.chosen)


def is_timing_noisy(manifest: Manifest) -> bool:
    """Whether other work disturbed the timing that the verdict rests on: of the nearest candidates, or as served."""
    ids = {miss.candidate for miss in manifest.verdict.nearest}
    timed = (record.measurements for record in manifest.candidates if record.id in ids and record.measurements)
    return any(m.noisy for m in timed) or bool(manifest.served and manifest.served.noisy)


def is_error_metric(metric: str) -> bool:
    """Whether a smaller value of `metric` is better."""
    return metric in ERROR_METRICS


def worst_end(quality: QualityRecord) -> float:
    """The end of the 95 % interval that the bound is judged at."""
    return quality.high if is_error_metric(quality.metric) else quality.low


def describe_quality(quality: QualityRecord | None) -> str:
    """`0.931 [0.915, 0.946]`, or an en dash."""
    if quality is None:
        return MISSING
    return f"{show_quality(quality.value)} [{show_quality(quality.low)}, {show_quality(quality.high)}]"


def describe_short(record: CandidateRecord) -> str:
    """`p50 about 5.1 ms`, of a few calls; empty for a candidate that has another figure, or none."""
    short_ms = record.measurements.short_p50_ms if record.measurements else None
    return "" if short_ms is None else f"p50 about {show_figure(short_ms)} ms"


def list_missing(rows: Sequence[Row]) -> tuple[tuple[str, str], ...]:
    """(candidates, reason) of the rows where a figure is missing, those with one reason together."""
    names: dict[str, list[str]] = {}
    for row in rows:
        if _is_incomplete(row.record.measurements):
            short = describe_short(row.record)
            names.setdefault(row.why_missing, []).append(f"{row.record.id} ({short})" if short else row.record.id)
    return tuple(("all" if len(found) == len(rows) else ", ".join(found), reason) for reason, found in names.items())


def list_left_out(manifest: Manifest) -> tuple[tuple[str, str], ...]:
    """(what, reason) of all that was not tried, or was dropped, what has one reason together."""
    rejected = group_rejections(Rejection(item.what, item.reason) for item in manifest.rejected)
    return tuple((item.what, item.reason) for item in rejected)


def find_limit(manifest: Manifest, candidate: str) -> LimitRecord | None:
    """How near the candidate came to the physical limit; None where that is not known."""
    limits = manifest.limits.candidates if manifest.limits else ()
    return next((limit for limit in limits if limit.candidate == candidate), None)


def describe_limit(manifest: Manifest) -> str:
    """How near the chosen candidate, or else the nearest one, came to the physical limit; empty where none is known.

    `0.57 of the physical limit: floor 1.20 ms (estimated) at 230 GFLOP/s fp32, measured here`.
    """
    limits = manifest.limits
    if limits is None or not limits.candidates:
        return ""
    nearest = max(limits.candidates, key=lambda limit: limit.share)
    limit = find_limit(manifest, manifest.verdict.chosen or "") or nearest
    unit = "GFLOP/s" if limit.bound == "compute" else "GB/s from memory in"
    text = (
        f"{show_share(limit.share)} of the physical limit ({limit.candidate}): floor {show_figure(limit.floor_ms)} ms "
        f"(estimated) at {show_figure(limit.rate)} {unit} {limit.precision}, {limits.source}"
    )
    if limit.share <= 1:
        return text
    is_stated = limits.source.startswith(OF_PROFILE)
    why = "the profile states too little" if is_stated else "something else used the machine meanwhile"
    return f"{text}; beyond it, so {why}"


def describe_shape(batch: int | None, sequence: int | None) -> str:
    """`batch 1, 32 tokens`; empty when neither is known."""
    parts = [f"batch {batch}"] if batch is not None else []
    return ", ".join(parts + ([f"{sequence} tokens"] if sequence is not None else []))


def describe_basis(rows: Sequence[Row]) -> str:
    """What the figures of the candidates stand for: `one caller, batch 1, 32 tokens, 2 threads`; empty without any."""
    timed = next((m for row in rows if (m := row.record.measurements) and m.p50_ms is not None), None)
    if timed is None:
        return ""
    shape = describe_shape(timed.batch, timed.sequence)
    threads = describe_count(timed.threads, "thread") if timed.threads is not None else ""
    return ", ".join(part for part in ("one caller", shape, threads) if part)


def describe_load(served: ServedRecord) -> str:
    """`8 clients`, or `20 requests/s, batch 4`."""
    load = f"{served.rate_per_s:g} requests/s" if served.rate_per_s else describe_count(served.concurrency, "client")
    return load if served.batch == 1 else f"{load}, batch {served.batch}"


def describe_count(number: int, noun: str) -> str:
    """`1 client`, `8 clients`, `1,200 requests`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _make_row(key: str, label: str, record: CandidateRecord, manifest: Manifest) -> Row:
    standing = _find_standing(record, manifest)
    words: str = standing
    if standing == "chosen" and (broken := find_broken(manifest)):
        words = "chosen, below quality" if "quality" in broken else "chosen, over budget"
    if standing == "kept" and manifest.served and manifest.verdict.met is False:
        words = "kept, not served"
    return Row(key, label, record, standing, words, _explain_missing(record, manifest))


def _find_standing(record: CandidateRecord, manifest: Manifest) -> Standing:
    if record.id == manifest.verdict.chosen:
        return "chosen"
    is_judged = record.measurements is not None and record.measurements.quality is not None
    return _STANDING_OF_STATUS.get(record.status, "not timed" if is_judged else "not judged")


def _explain_missing(record: CandidateRecord, manifest: Manifest) -> str:
    if record.failure:
        return NOT_JUDGED if record.failure.startswith(NOT_JUDGED) else record.failure  # the manifest has the rest
    if record.status == "quality_missed":
        return "not timed: the quality gate refused it first"
    if record.status == "outpaced":
        return OUTPACED
    if record.status == "built":
        return "not timed: that is for the device"
    if record.measurements is None:
        return f"not measured: the package is only {manifest.state}"
    return "not measured"


def _is_incomplete(m: MeasurementRecord | None) -> bool:
    """Whether a figure that the terminal's table shows is missing."""
    if m is None:
        return True
    return None in (m.p50_ms, m.p99_ms, m.throughput_per_s, m.size_mib, m.peak_rss_mib, m.quality)


def _make_key(index: int) -> str:
    """A, B, ..., Z, AA, AB, ..."""
    letters, index = "", index + 1
    while index:
        index, rest = divmod(index - 1, 26)
        letters = chr(ord("A") + rest) + letters
    return letters
