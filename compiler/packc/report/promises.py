"""The promises of a spec, each beside the figure it is judged on, and the verdict in lines."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from packc.package.manifest import Manifest, MissRecord
from packc.report.figures import MISSING, show_against, show_bound, show_figure, show_percentile, show_quality
from packc.report.view import describe_count, find_chosen, is_error_metric, worst_end

Subject = Literal["budget", "throughput", "size", "memory", "quality"]
Relation = Literal["at most", "at least"]
UNITS: dict[Subject, str] = {"budget": "ms", "throughput": "samples/s", "size": "MiB", "memory": "MiB", "quality": ""}

UNSERVED = "one caller, without a server"


@dataclass(frozen=True, slots=True)
class Promise:
    """One promise and what was measured of the chosen candidate; either may be missing."""

    subject: Subject
    figure: str
    """What was measured: "p99", "throughput", "size", "memory", a quality metric."""
    measured: float | None
    bound: float | None
    relation: Relation
    unit: str
    basis: str
    """How it was measured, or why it was not."""
    is_judged: bool
    """False when the build could not judge promises, as when the device is elsewhere."""

    @property
    def kept(self) -> bool | None:
        """None without a bound, a figure or a judgement."""
        if self.bound is None or self.measured is None or not self.is_judged:
            return None
        return self.measured <= self.bound if self.relation == "at most" else self.measured >= self.bound

    @property
    def share(self) -> float | None:
        """measured / bound, to draw; None when either is missing."""
        return self.measured / self.bound if self.measured is not None and self.bound else None

    @property
    def word(self) -> str:
        """The standing in words: met, missed, not judged, no bound."""
        if self.bound is None:
            return "no bound"
        return {True: "met", False: "missed", None: "not judged"}[self.kept]

    @property
    def title(self) -> str:
        """`Latency, p99`; `Size`."""
        names = {"budget": f"Latency, {self.figure}", "quality": f"Quality, {self.figure}"}
        return names.get(self.subject, self.subject.capitalize())

    @property
    def number(self) -> str:
        """`9.80`, or an en dash."""
        if self.measured is None:
            return MISSING
        return _show_number(self.measured, self.bound, is_quality=self.subject == "quality")

    @property
    def measured_text(self) -> str:
        """`9.80 ms`, or an en dash."""
        return self.number if self.measured is None else f"{self.number} {self.unit}".rstrip()

    @property
    def bound_text(self) -> str:
        """`15 ms`, or an en dash."""
        return MISSING if self.bound is None else f"{show_bound(self.bound)} {self.unit}".rstrip()

    def __str__(self) -> str:
        """`budget met: p99 9.80 ms of 15 ms (served, 8 clients, gRPC)`."""
        name = f"{self.figure} " if self.figure != self.subject else ""
        between = "of" if self.relation == "at most" else "of at least"
        bound = "" if self.bound is None else f" {between} {self.bound_text}"
        return f"{self.subject} {self.word}: {name}{self.measured_text}{bound} ({self.basis})"


def make_promises(manifest: Manifest) -> tuple[Promise, ...]:
    """All five, whether the spec bounds them or not, the latency budget first."""
    bounds, served, chosen = manifest.promises, manifest.served, find_chosen(manifest)
    figures = chosen.measurements if chosen else None
    quality = (served.quality if served else None) or (figures.quality if figures else None)
    is_judged = manifest.verdict.met is not None
    missing = "no candidate was chosen" if chosen is None else f"not measured: the package is only {manifest.state}"

    latency = throughput = None
    load = UNSERVED
    if served:
        latency, throughput = served.latency_ms, served.throughput_per_s
        load = f"served, {describe_count(served.concurrency, 'client')}, {served.protocol}"
    elif figures:
        latency = {50.0: figures.p50_ms, 99.0: figures.p99_ms}.get(bounds.percentile)
        throughput = figures.throughput_per_s
    percentile = show_percentile(bounds.percentile)
    no_latency = f"{percentile} takes a server to measure" if figures and figures.p99_ms is not None else missing
    size = figures.size_mib if figures else None
    memory = figures.peak_rss_mib if figures else None
    quality_end = worst_end(quality) if quality else None
    interval = f"worst end of the 95 % interval around {show_quality(quality.value)}" if quality else missing
    quality_relation: Relation = "at most" if is_error_metric(bounds.quality_metric) else "at least"

    def promise(
        subject: Subject, figure: str, value: float | None, bound: float | None, relation: Relation, basis: str
    ) -> Promise:
        return Promise(subject, figure, value, bound, relation, UNITS[subject], basis, is_judged)

    return (
        promise("budget", percentile, latency, bounds.latency_ms, "at most", no_latency if latency is None else load),
        promise(
            "throughput",
            "throughput",
            throughput,
            bounds.throughput_per_s,
            "at least",
            missing if throughput is None else load,
        ),
        promise("size", "size", size, bounds.size_mib, "at most", missing if size is None else "files of the artifact"),
        promise(
            "memory",
            "memory",
            memory,
            bounds.memory_mib,
            "at most",
            missing if memory is None else "peak of a process that runs it",
        ),
        promise("quality", bounds.quality_metric, quality_end, bounds.quality_min, quality_relation, interval),
    )


def describe_verdict(manifest: Manifest) -> tuple[str, ...]:
    """The verdict in lines, the latency budget first.

    With a chosen candidate: each promise that has a bound, with its figure. Without one: the verdict's reasons and the
    nearest candidates, with how far off they are.
    """
    if manifest.verdict.chosen is None or manifest.verdict.met is None:
        return (*manifest.verdict.reasons, *describe_misses(manifest)) or ("not judged: nothing was measured",)
    bounded = tuple(str(promise) for promise in make_promises(manifest) if promise.bound is not None)
    return bounded or ("built and measured; the spec sets no bound",)


def describe_misses(manifest: Manifest) -> tuple[str, ...]:
    """The nearest candidates: `nearest: onnxruntime-int8: p99 17.2 ms of 15 ms (15 % off)`."""
    bounds = manifest.promises
    names: dict[str, tuple[str, Subject]] = {
        "latency_ms": (show_percentile(bounds.percentile), "budget"),
        "throughput_per_s": ("throughput", "throughput"),
        "size_mib": ("size", "size"),
        "memory_mib": ("memory", "memory"),
        "quality": (bounds.quality_metric, "quality"),
    }
    lines = []
    for miss in manifest.verdict.nearest:
        name, subject = names[miss.promise]
        unit = UNITS[subject]
        figure = f"{_show_number(miss.measured, miss.bound, is_quality=subject == 'quality')} {unit}".rstrip()
        limit = f"{show_bound(miss.bound)} {unit}".rstrip()
        lines.append(f"nearest: {miss.candidate}: {name} {figure} of {limit} ({_show_distance(miss)} off)")
    return tuple(lines)


def _show_number(value: float, bound: float | None, *, is_quality: bool) -> str:
    if bound is not None:
        return show_against(value, bound, quality=is_quality)
    return show_quality(value) if is_quality else show_figure(value)


def _show_distance(miss: MissRecord) -> str:
    if not miss.bound:
        return show_figure(abs(miss.measured))
    percent = abs(miss.measured - miss.bound) / abs(miss.bound) * 100
    return f"{percent:.0f} %" if percent >= 10 else f"{percent:.1f} %"
