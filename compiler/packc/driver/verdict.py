"""The last word on one target, as the manifest's records: every candidate, the promises, the verdict."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace

from packc.driver.limits import record_limits
from packc.driver.sensitivity import record_sensitivity
from packc.ingest.student import Training
from packc.package.engine_stamp import EngineStamp
from packc.package.manifest import (
    CandidateRecord,
    EngineRecord,
    GpuStateRecord,
    LoadRecord,
    Manifest,
    MeasurementRecord,
    MissRecord,
    PromiseRecord,
    QualityRecord,
    RejectedRecord,
    ServedRecord,
    ServingRecord,
    State,
    StudentRecord,
    TriedPlanRecord,
    VerdictRecord,
)
from packc.passes.sensitivity import Sensitivity
from packc.plan import Rejection
from packc.quality.gate import quality_bound
from packc.roofline import Roofline
from packc.select import NOT_JUDGED, Miss, Outcome, Verdict, classify, leave_to_server
from packc.serving import ServingPlan
from packc.serving.search import Tried
from packc.spec.model import MetricName, TargetSpec


@dataclass(frozen=True, slots=True)
class Findings:
    """All that a build found out about one target."""

    spec: TargetSpec
    metric: MetricName
    quality_data: str
    outcomes: Sequence[Outcome]
    rejected: Sequence[Rejection]
    environment: dict[str, str]
    build_key: str
    jobs_key: str = ""
    job_parts: Mapping[str, str] = field(default_factory=dict)
    """As `Manifest` has it."""
    source_digest: str = ""
    """Of the model, as `Manifest` has it."""
    device_notes: tuple[str, ...] = ()
    """Of a device that measured: that it is a part of a GPU, or shared."""
    verify: bool = False
    """Whether a server has the word on throughput, not what was measured without one."""
    roofline: Roofline | None = None
    sensitivity: Mapping[str, Sensitivity] = field(default_factory=dict)
    """What mixed candidates rest on, by runtime."""
    training: Training | None = None
    """Of the student, where candidates begin with one."""
    cut: tuple[str, ...] = ()
    """What `[optimize] max_minutes` left out of the search, in words."""

    @property
    def local_spec(self) -> TargetSpec:
        """What the candidates are judged by before any server is asked."""
        return leave_to_server(self.spec) if self.verify else self.spec


def record_findings(
    findings: Findings,
    state: State,
    verdict: Verdict,
    served: ServedRecord | None = None,
    serving: ServingPlan | None = None,
    tried: Sequence[Tried] = (),
) -> Manifest:
    """The manifest of a target, still without the hashes of its files. `tried` are the ways of serving looked at."""
    spec = findings.spec
    return Manifest(
        model=spec.model.name,
        target=spec.target,
        profile=spec.profile,
        state=state,
        verdict=VerdictRecord(
            verdict.met,
            verdict.chosen,
            (*verdict.reasons, *_tell_cut(findings)),
            tuple(_record_miss(miss) for miss in verdict.misses),
        ),
        promises=_record_promises(findings),
        candidates=tuple(_record_outcome(outcome, findings.local_spec, state) for outcome in findings.outcomes),
        rejected=tuple(RejectedRecord(rejection.what, rejection.reason) for rejection in findings.rejected),
        served=served,
        environment=findings.environment,
        device_notes=findings.device_notes,
        serving=_record_serving(serving, tried, verdict.chosen) if serving else None,
        limits=record_limits(findings.roofline, findings.outcomes) if findings.roofline else None,
        sensitivity=record_sensitivity(findings.sensitivity, findings.outcomes, verdict.chosen),
        student=StudentRecord(**asdict(findings.training)) if findings.training else None,
        source_digest=findings.source_digest,
        build_key=findings.build_key,
        jobs_key=findings.jobs_key,
        job_parts=dict(findings.job_parts),
    )


def record_engine(stamp: EngineStamp) -> EngineRecord:
    """What a manifest says of an engine."""
    s = stamp
    return EngineRecord(s.tensorrt, s.device, s.compute_capability, s.driver, s.os, s.profiles)


def _tell_cut(findings: Findings) -> tuple[str, ...]:
    """That the search was cut short, and what is therefore not known; empty where it had its time."""
    if not findings.cut:
        return ()
    minutes = f"{findings.spec.optimize.max_minutes:g} minutes of [optimize] max_minutes"
    return (f"the search was cut short, as the {minutes} were over: {'; '.join(findings.cut)}",)


def _record_serving(plan: ServingPlan, tried: Sequence[Tried], chosen: str | None) -> ServingRecord:
    record = ServingRecord(**asdict(plan))
    return replace(record, tried=tuple(_record_tried(item, plan, chosen) for item in tried))


def _record_tried(item: Tried, chosen_plan: ServingPlan, chosen: str | None) -> TriedPlanRecord:
    plan = item.way.plan
    return TriedPlanRecord(
        candidate=item.way.candidate,
        instances=plan.instances,
        threads=plan.threads,
        max_batch_size=plan.max_batch_size,
        queue_delay_us=plan.queue_delay_us,
        preferred_batch_sizes=plan.preferred_batch_sizes,
        front=plan.front,
        lengths=plan.lengths,
        predicted=LoadRecord(**asdict(item.predicted)) if item.predicted else None,
        is_fitted=item.is_fitted,
        served=LoadRecord(**asdict(item.served)) if item.served else None,
        is_chosen=item.way.candidate == chosen and replace(plan, reasons=()) == replace(chosen_plan, reasons=()),
        failure=item.failure,
        cuda_graphs=plan.cuda_graphs,
    )


def _record_promises(findings: Findings) -> PromiseRecord:
    budget, workload = findings.spec.budget, findings.spec.workload
    bound = quality_bound(findings.spec.quality, findings.metric)
    return PromiseRecord(
        latency_ms=budget.latency_ms or None,
        percentile=budget.percentile,
        throughput_per_s=budget.throughput_per_s or None,
        size_mib=budget.size_mib or None,
        memory_mib=budget.memory_mib or None,
        quality_metric=findings.metric,
        quality_min=bound.value if bound.kind == "min" else None,
        quality_max_drop=bound.value if bound.kind == "max_drop" else None,
        quality_data=findings.quality_data,
        concurrency=workload.concurrency,
        rate_per_s=workload.rate_per_s,
        batch=workload.batch.typical,
    )


def _record_outcome(outcome: Outcome, spec: TargetSpec, state: State) -> CandidateRecord:
    candidate = outcome.candidate
    status: str = classify(outcome, spec)
    if state == "built" and status == "failed" and (outcome.failure or NOT_JUDGED).startswith(NOT_JUDGED):
        status = "built"
    return CandidateRecord(
        candidate.id,
        candidate.runtime,
        candidate.precision,
        tuple(str(step) for step in candidate.steps),
        status,
        outcome.failure,
        _record_measurement(outcome, status),
        outcome.warnings,
    )


def _record_measurement(outcome: Outcome, status: str) -> MeasurementRecord | None:
    """The figures of a candidate. One that had no long timing has no figure of speed but that of its short one."""
    is_timed = not outcome.is_rough
    quality = QualityRecord(**asdict(outcome.quality)) if outcome.quality else None
    measurement = outcome.measurement
    if measurement is None:
        return MeasurementRecord(None, None, None, None, None, None, quality) if quality else None
    typical, *larger = measurement.latencies
    return MeasurementRecord(
        p50_ms=typical.p50_ms if is_timed else None,
        p99_ms=typical.p99_ms if is_timed else None,
        throughput_per_s=typical.throughput_per_s if is_timed else None,
        size_mib=measurement.size_mib,
        peak_rss_mib=measurement.peak_rss_mib,
        load_s=measurement.load_s,
        quality=quality,
        noisy=typical.noisy and is_timed,
        batch=typical.case.batch,
        sequence=typical.case.sequence,
        samples=typical.samples if is_timed else None,
        threads=measurement.threads,
        max_p50_ms=larger[-1].p50_ms if larger and is_timed else None,
        short_p50_ms=typical.p50_ms if status == "outpaced" else None,
        device_memory_mib=measurement.device_memory_mib,
        gpu_states=tuple(GpuStateRecord(**asdict(s)) for s in measurement.gpu_states) if is_timed else (),
    )


def _record_miss(miss: Miss) -> MissRecord:
    known = miss.measured if math.isfinite(miss.measured) else None  # JSON has no infinity
    return MissRecord(miss.candidate, miss.promise, known, miss.bound)
