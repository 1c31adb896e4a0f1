"""The figures of the chosen candidate, each beside the promise that the spec makes about it.

Nothing is judged here: whether a promise is kept is what the manifest's verdict says.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from packc.package.manifest import Manifest, MeasurementRecord, PromiseRecord, QualityRecord
from packc.report.figures import (
    MISSING,
    show_against,
    show_bound,
    show_figure,
    show_percentile,
    show_protocol,
    show_quality,
    show_words,
)
from packc.report.view import describe_count, describe_load, find_broken, find_chosen, is_error_metric, worst_end

UNSERVED = "one caller, without a server"


@dataclass(frozen=True, slots=True)
class Tile:
    """One figure with its promise; either may be missing."""

    title: str
    """`Latency, p99`."""
    number: str
    """`9.83`, or an en dash."""
    unit: str
    basis: str
    """How the figure was measured, or why it was not."""
    promise: str
    """`at most 15 ms`; empty without a bound."""
    kept: bool | None
    """None without a bound, or where the verdict does not say."""
    share: float | None
    """figure / bound, to draw; None without either."""

    @property
    def word(self) -> Literal["met", "missed", "asked", "no bound"]:
        if not self.promise:
            return "no bound"
        return "asked" if self.kept is None else "met" if self.kept else "missed"


def make_tiles(manifest: Manifest) -> tuple[Tile, ...]:
    """Latency, throughput, size, memory and quality of the chosen candidate, whether the spec bounds them or not."""
    bounds, served, chosen = manifest.promises, manifest.served, find_chosen(manifest)
    figures = chosen.measurements if chosen else None
    load = f"served over {show_protocol(served.protocol)} to {describe_load(served)}" if served else UNSERVED
    latency = throughput = None
    if served:
        latency, throughput = served.latency_ms, served.throughput_per_s
    elif figures:
        latency = {50.0: figures.p50_ms, 99.0: figures.p99_ms}.get(bounds.percentile)
        throughput = figures.throughput_per_s
    percentile = show_percentile(bounds.percentile)
    return (
        _make_tile(manifest, "latency_ms", f"Latency, {percentile}", "ms", latency, bounds.latency_ms, load),
        _make_tile(manifest, "throughput_per_s", "Throughput", "samples/s", throughput, bounds.throughput_per_s, load),
        _make_tile(
            manifest,
            "size_mib",
            "Size",
            "MiB",
            figures.size_mib if figures else None,
            bounds.size_mib,
            "files of the artifact",
        ),
        _make_memory_tile(manifest, figures),
        _make_quality_tile(manifest, (served.quality if served else None) or (figures.quality if figures else None)),
    )


def describe_quality_bound(bounds: PromiseRecord) -> str:
    """`at least 0.9`, `at most 0.02 worse than the source model`; empty without a bound."""
    if bounds.quality_max_drop is not None:
        return f"at most {show_bound(bounds.quality_max_drop)} worse than the source model"
    if bounds.quality_min is None:
        return ""
    relation = "at most" if is_error_metric(bounds.quality_metric) else "at least"
    return f"{relation} {show_bound(bounds.quality_min)}"


def _make_tile(
    manifest: Manifest, promise: str, title: str, unit: str, value: float | None, bound: float | None, basis: str
) -> Tile:
    kept = _is_kept(manifest, promise) if bound is not None else None
    relation = "at least" if promise == "throughput_per_s" else "at most"
    if value is None:
        number, basis = MISSING, _explain_missing(manifest)
    else:
        number = show_figure(value) if bound is None else show_against(value, bound)
    if promise == "throughput_per_s" and kept and value is not None and bound is not None and value < bound:
        basis += "; the bound is met at another shape"
    return Tile(
        title,
        number,
        unit,
        basis,
        "" if bound is None else f"{relation} {show_bound(bound)} {unit}",
        kept,
        value / bound if value is not None and bound else None,
    )


def _make_memory_tile(manifest: Manifest, figures: MeasurementRecord | None) -> Tile:
    """What the bound is about: on a GPU its memory, of all instances together."""
    used_mib, title, basis = figures.peak_rss_mib if figures else None, "Memory", "peak of a process that runs it"
    if figures and figures.device_memory_mib is not None:
        instances = manifest.serving.instances if manifest.serving else 1
        used_mib, title = instances * figures.device_memory_mib, "GPU memory"
        alone = f"{show_figure(figures.device_memory_mib)} MiB that one took alone"
        basis = (
            f"{describe_count(instances, 'instance')}, each by the {alone}"
            if instances > 1
            else "what one instance took"
        )
    return _make_tile(manifest, "memory_mib", title, "MiB", used_mib, manifest.promises.memory_mib, basis)


def _make_quality_tile(manifest: Manifest, quality: QualityRecord | None) -> Tile:
    bounds = manifest.promises
    promise = describe_quality_bound(bounds)
    kept = _is_kept(manifest, "quality") if promise else None
    title = f"Quality, {show_words(bounds.quality_metric)}"
    if quality is None:
        return Tile(title, MISSING, "", _explain_missing(manifest), promise, kept, None)
    if bounds.quality_max_drop is not None:
        return Tile(
            f"{title} lost",
            show_against(max(quality.worst_drop, 0.0), bounds.quality_max_drop, quality=True),
            "",
            f"worst end of the 95 % interval; {show_quality(quality.value)}, the source model's "
            f"{show_quality(quality.reference)}",
            promise,
            kept,
            max(quality.worst_drop, 0.0) / bounds.quality_max_drop if bounds.quality_max_drop else None,
        )
    if bounds.quality_min is None:
        interval = f"95 % interval {show_quality(quality.low)} to {show_quality(quality.high)}"
        return Tile(title, show_quality(quality.value), "", interval, promise, kept, None)
    end = worst_end(quality)
    return Tile(
        title,
        show_against(end, bounds.quality_min, quality=True),
        "",
        f"worst end of the 95 % interval around {show_quality(quality.value)}",
        promise,
        kept,
        end / bounds.quality_min if bounds.quality_min else None,
    )


def _is_kept(manifest: Manifest, promise: str) -> bool | None:
    """What the verdict says of one promise; None when nothing was chosen or judged."""
    verdict = manifest.verdict
    if verdict.chosen is None or verdict.met is None:
        return None
    return verdict.met or promise not in find_broken(manifest)


def _explain_missing(manifest: Manifest) -> str:
    chosen = find_chosen(manifest)
    if chosen is None:
        return "no candidate was chosen"
    return "not measured" if manifest.served or chosen.measurements else f"the package is only {manifest.state}"
