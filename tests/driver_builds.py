"""Builds of the small world whose candidates were measured already: they are served, judged and published."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from driver_world import Way, World, make_candidate
from packc.candidate import Rejection
from packc.driver.best import publish_best
from packc.driver.endings import BuildOptions, TargetResult
from packc.driver.packing import Packing
from packc.measure.measurement import Latency, Measurement
from packc.quality.score import QualityScore
from packc.search import TimeLimit
from packc.select import Outcome
from packc.serving import ServingPlan
from packc.tensors import Precision, ShapeCase

BUDGET = "[budget]\nlatency_ms = 50"


def make_outcome(world: World, precision: Precision, ms: float, error: float) -> Outcome:
    """A measured candidate named after its precision, whose answers are off by `error`."""
    way = world.ways[precision] = Way(ms, error, precision=precision)
    latency = Latency(ShapeCase("typical", 1, None), ms, ms, ms, 1e3 / ms, 300, False, (ms,) * 300)
    ingested = world.ingest()
    return Outcome(
        make_candidate(precision, way),
        model=ingested.source.graph,
        measurement=Measurement((latency,), 0.1, 100.0, 1.0, 1, "some CPU", ()),
        quality=QualityScore("max_error", error, error, error, 12, 0.0, error),
        failure=None,
        warnings=(),
        answers=ingested.answers,
    )


def publish(
    world: World, outcomes: Sequence[Outcome], *sections: str, skipped: Sequence[Rejection] = (), **options: bool
) -> TargetResult:
    trial = world.make_trial(*sections)
    inputs = world.gather(*sections)
    packing = Packing(
        inputs,
        trial,
        replace(inputs.make_findings(outcomes, skipped), verify=options.get("verify", True)),
        ServingPlan(1, 1, 8, 0, ()),
        "none",
        BuildOptions(**options),  # type: ignore[arg-type]
        TimeLimit(0.0),
    )
    return publish_best(packing, world.final)
