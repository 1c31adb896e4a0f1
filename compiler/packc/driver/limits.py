"""The physical limit of one target: found before the search, recorded with what was measured after it."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from packc.driver.evaluate import Trial
from packc.errors import PackError
from packc.measure.peak import measure_peaks
from packc.measure.work import count_work
from packc.package.insight import LimitRecord, LimitsRecord, PeakRecord
from packc.roofline import Roofline, read_profile
from packc.select import Outcome
from packc.target import Target

log = logging.getLogger(__name__)


def find_roofline(trial: Trial, target: Target) -> Roofline | None:
    """The model's work and the device's peaks: measured where the device is this machine's CPU, else its profile's.

    None, with a warning, where they cannot be had: a build needs them for its order and its report only.
    """
    try:
        work = count_work(trial.ingested.source.graph, trial.cases, trial.latency_inputs, trial.cache)
        if not target.is_here or target.kind != "cpu":
            return Roofline(trial.cases, work, read_profile(target))
        peaks = measure_peaks(target.native, trial.threads, trial.device, trial.cache)
    except PackError as error:
        log.warning("the physical limit is not known: %s", error)
        return None
    return Roofline(trial.cases, work, peaks)


def record_limits(roofline: Roofline, outcomes: Sequence[Outcome]) -> LimitsRecord:
    """How near each candidate that was timed for long came to the limit at the typical shape."""
    typical, peaks = roofline.cases[0], roofline.peaks
    return LimitsRecord(
        gflop=roofline.work[0].flops / 1e9,
        weights=roofline.work[0].weights,
        batch=typical.batch,
        sequence=typical.sequence,
        threads=peaks.threads,
        source=peaks.source,
        peaks=tuple(PeakRecord(rate.precision, rate.gflop_per_s, rate.library) for rate in peaks.gemm),
        candidates=tuple(record for outcome in outcomes if (record := _record_limit(roofline, outcome)) is not None),
    )


def _record_limit(roofline: Roofline, outcome: Outcome) -> LimitRecord | None:
    floors = roofline.find_floors(outcome.candidate)
    if floors is None or outcome.measurement is None or outcome.is_rough:
        return None
    floor = floors[0]
    share = floor.ms / outcome.measurement.latencies[0].p50_ms
    return LimitRecord(outcome.candidate.id, floor.ms, share, floor.bound, floor.rate, floor.precision)
