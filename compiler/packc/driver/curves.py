"""A candidate's curve of service times, from the cache or measured."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from pydantic import TypeAdapter

from packc.cache import NotKept, cache_key
from packc.data.workload import curve_cases, make_latency_inputs
from packc.driver.evaluate import JOB_TIMEOUT_S, Trial, identify_job
from packc.errors import PackError
from packc.jobs.bundle import write_bundle
from packc.measure.curve import ServiceCurve, is_disturbed, measure_curve
from packc.measure.jobs import curve_job
from packc.package.artifact import artifact_files
from packc.runtimes import find_runtime
from packc.select import Outcome
from packc.serving.choices import Split
from packc.serving.plan import set_graphs

log = logging.getLogger(__name__)

HOPELESS = 2.0
"""A batch that one caller would wait this many times the budget for is not measured."""


def find_curve(outcome: Outcome, split: Split, batches: Sequence[int], lengths: Sequence[int], trial: Trial
) -> ServiceCurve | None:  # fmt: skip
    """How long calls of `batches` x the quantiles of `lengths` take while all of the split's instances make calls.

    None, with a line in the log, where a copy failed. One that other work disturbed is used, and not kept.
    """
    model = outcome.model
    assert model is not None, "only a candidate with an artifact is served"
    cases = curve_cases(_limit_batches(outcome, batches, trial.spec.budget.latency_ms), lengths)
    runtime = find_runtime(outcome.candidate.runtime)
    options = set_graphs(runtime.job_options(outcome.candidate, split.threads), cuda_graphs=split.cuda_graphs)
    job = curve_job(outcome.candidate, model, options, split.threads, cases)

    def make(folder: Path) -> None:
        with TemporaryDirectory(dir=folder) as scratch:
            inputs = Path(scratch, "latency.npz")
            make_latency_inputs(job.cases, trial.ingested.inputs, trial.ingested.source, inputs)
            bundles = [Path(scratch, str(copy)) for copy in range(split.instances)]
            for bundle in bundles:
                write_bundle(bundle, job, artifact_files(model).values(), None, inputs, runtime.engine_files)
            curve = measure_curve(bundles, JOB_TIMEOUT_S, runtime.python, trial.memory_limit_mib)
        if not isinstance(curve, ServiceCurve):
            raise PackError(curve.failure or curve.status)
        if trial.is_shared or is_disturbed(curve):
            raise NotKept(curve)
        (folder / "curve.json").write_bytes(TypeAdapter(ServiceCurve).dump_json(curve))

    key = cache_key(copies=split.instances, job=identify_job(job, model, trial))
    try:
        name = outcome.candidate.id
        reused = f"{name}: curve on {split.instances} x {split.threads} threads measured before"
        folder = trial.cache.get_or_make("curve", key, make, reused=reused)
    except NotKept as passing:
        disturbed: ServiceCurve = passing.result
        return disturbed
    except PackError as error:
        log.info("%s: no curve on %d x %d threads: %s", outcome.candidate.id, split.instances, split.threads, error)
        return None
    return TypeAdapter(ServiceCurve).validate_json((folder / "curve.json").read_bytes())


def _limit_batches(outcome: Outcome, batches: Sequence[int], budget_ms: float) -> Sequence[int]:
    """Without those whose call alone would be far beyond the budget; the two smallest stay, for a line needs two."""
    if outcome.measurement is None or not budget_ms:
        return batches
    typical = outcome.measurement.latencies[0]
    sample_ms = typical.p50_ms / typical.case.batch
    return [b for i, b in enumerate(batches) if i < 2 or b * sample_ms <= HOPELESS * budget_ms]
