"""The targets of a package for several GPUs, in words: what each is served with, and how far its own build came."""

from __future__ import annotations

from collections.abc import Sequence

from packc.package.combined_ways import describe_missed, find_unflagged
from packc.package.manifest import CombinedRecord, Manifest
from packc.report.figures import show_figure, show_percentile


def list_combined(manifest: Manifest) -> tuple[tuple[str, str], ...]:
    """(target, what is said of it), the one that the rest of the manifest is about first; empty for other packages."""
    return tuple((record.target, describe_combined(record, manifest.combined)) for record in manifest.combined)


def describe_combined(record: CombinedRecord, records: Sequence[CombinedRecord]) -> str:
    """`9.0, ort-fp16 as model.onnx by default; its own package: verified, p99 4.10 ms; this repository: loaded`.

    `records` are of all targets: whose artifact a server takes without the flag that this one needs.
    """
    if record.file is None:
        return f"{record.compute_capability}, no part in the repository: {record.remark}"
    flag = f"by --model-config-name={record.target} (without it: that of {find_unflagged(record, records).target})"
    ways = {"default": "by default", "compute capability": "by its compute capability", "config name": flag}
    figures = []
    if record.latency_ms is not None and record.percentile is not None:
        figures.append(f"{show_percentile(record.percentile)} {show_figure(record.latency_ms)} ms")
    if record.throughput_per_s is not None:
        figures.append(f"{show_figure(record.throughput_per_s)} samples/s")
    place = f"{record.compute_capability}, {record.candidate} as {record.file} {ways[record.chosen_by]}"
    own = f"its own package: {', '.join(filter(None, [record.state, *figures, describe_missed(record)]))}"
    here = f"this repository: {'loaded' if record.is_loaded else 'not loaded as this target yet'}"
    return "; ".join([place, own, here, *([record.remark] if record.remark else [])])
