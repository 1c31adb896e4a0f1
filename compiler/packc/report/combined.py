"""The targets of a package for several GPUs, in words: what each is served with, and how far its own build came."""

from __future__ import annotations

from packc.package.manifest import CombinedRecord, Manifest
from packc.report.figures import show_figure, show_percentile


def list_combined(manifest: Manifest) -> tuple[tuple[str, str], ...]:
    """(target, what is said of it), the one that the rest of the manifest is about first; empty for other packages."""
    return tuple((record.target, describe_combined(record)) for record in manifest.combined)


def describe_combined(record: CombinedRecord) -> str:
    """`9.0, ort-fp16 as model.onnx by default; its own package: verified, p99 4.10 ms; this repository: loaded`."""
    if record.file is None:
        return f"{record.compute_capability}, no part in the repository: {record.remark}"
    ways = {
        "default": "by default",
        "compute capability": "by its compute capability",
        "config name": f"by --model-config-name={record.target}",
    }
    figures = []
    if record.latency_ms is not None and record.percentile is not None:
        figures.append(f"{show_percentile(record.percentile)} {show_figure(record.latency_ms)} ms")
    if record.throughput_per_s is not None:
        figures.append(f"{show_figure(record.throughput_per_s)} samples/s")
    place = f"{record.compute_capability}, {record.candidate} as {record.file} {ways[record.chosen_by]}"
    own = f"its own package: {', '.join([record.state, *figures])}"
    here = f"this repository: {'loaded' if record.is_loaded else 'not loaded as this target yet'}"
    return "; ".join([place, own, here, *([record.remark] if record.remark else [])])
