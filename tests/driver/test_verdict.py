from __future__ import annotations

from dataclasses import replace

import pytest

from packc.candidate import Candidate, PassStep, Rejection
from packc.driver.evaluate import NOT_JUDGED
from packc.driver.verdict import Findings, record_engine, record_findings
from packc.jobs.job import GpuState
from packc.measure.measurement import Latency, Measurement
from packc.package.engine_stamp import EngineStamp
from packc.package.manifest import (
    EngineRecord,
    GpuStateRecord,
    LoadRecord,
    Manifest,
    MissRecord,
    RejectedRecord,
    ServingRecord,
)
from packc.quality.score import QualityScore
from packc.select import Miss, Outcome, Verdict
from packc.serving import ServingPlan
from packc.serving.queue import LoadFigures
from packc.serving.search import Tried, Way
from packc.spec.model import BudgetSection, QualitySection, WorkloadSection
from packc.tensors import ShapeCase
from target_spec import target_spec

TIMES_MS = (2.0,) * 300
TYPICAL = Latency(ShapeCase("typical", 1, 32), 2.0, 2.0, 2.0, 500.0, 300, True, TIMES_MS)
LARGEST = Latency(ShapeCase("max", 8, 128), 40.0, 41.0, 39.0, 200.0, 15, False, (40.0,) * 15)
OUTCOME = Outcome(
    Candidate("int8", "onnxruntime", "int8", (PassStep("fuse_gelu"), PassStep("quantize", {"exclude": "ffn"}))),
    model=None,
    measurement=Measurement((TYPICAL, LARGEST), 0.5, 300.0, 23.0, 2, "some CPU", ()),
    quality=QualityScore("cosine", 0.995, 0.993, 0.997, 200, 1.0, 0.007),
    failure=None,
    warnings=("fuse_gelu: 5 of 6",),
)
KEPT = Verdict(True, "int8", ("budget met",), (), None)


def record(outcome: Outcome, verdict: Verdict = KEPT, budget: BudgetSection | None = None, **parts: object) -> Manifest:
    spec = target_spec(
        budget or BudgetSection(latency_ms=15), QualitySection(min=0.99), workload=WorkloadSection(concurrency=8)
    )
    rejected = (Rejection("bf16", "no kernels"),)
    findings = Findings(spec, "cosine", "eval.jsonl", [outcome], rejected, {"device": "some CPU"}, "key")
    return record_findings(findings, parts.pop("state", "measured"), verdict, **parts)  # type: ignore[arg-type]


def test_everything_is_recorded() -> None:
    manifest = record(OUTCOME, serving=ServingPlan(2, 1, 8, 0, ("because",)))
    assert (manifest.model, manifest.target, manifest.profile) == ("m", "cpu", "host")
    assert (manifest.state, manifest.build_key, manifest.files) == ("measured", "key", {})
    assert (manifest.verdict.met, manifest.verdict.chosen, manifest.verdict.nearest) == (True, "int8", ())
    assert manifest.rejected == (RejectedRecord("bf16", "no kernels"),)
    assert manifest.serving == ServingRecord(2, 1, 8, 0, ("because",))
    (candidate,) = manifest.candidates
    assert candidate.passes == ("fuse_gelu", "quantize[exclude=ffn]")
    assert (candidate.status, candidate.failure, candidate.warnings) == ("kept", None, OUTCOME.warnings)
    m = candidate.measurements
    assert m is not None
    assert (m.p50_ms, m.p99_ms, m.throughput_per_s, m.max_p50_ms) == (2.0, 2.0, 500.0, 40.0)
    assert (m.size_mib, m.peak_rss_mib, m.load_s, m.noisy) == (23.0, 300.0, 0.5, True)
    assert (m.batch, m.sequence, m.samples, m.threads) == (1, 32, 300, 2)
    assert m.quality is not None
    assert (m.quality.metric, m.quality.low) == ("cosine", 0.993)


def test_what_was_tried_is_recorded_and_the_chosen_way_marked() -> None:
    name = OUTCOME.candidate.id
    plan = ServingPlan(2, 1, 8, 0, ("because",), preferred_batch_sizes=(4,))
    figures = LoadFigures(100.0, 5.0, 9.0)
    other = Tried(Way(name, ServingPlan(1, 2, 8, 0, ())), figures, None, failure="it stopped")
    same = Tried(Way(name, replace(plan, reasons=())), figures, figures, is_fitted=True)
    manifest = record(OUTCOME, replace(KEPT, chosen=name), serving=plan, tried=(same, other))
    assert manifest.serving is not None
    first, second = manifest.serving.tried
    assert (first.is_chosen, first.is_fitted, first.served) == (True, True, LoadRecord(100.0, 5.0, 9.0))
    assert (second.is_chosen, second.failure, second.served) == (False, "it stopped", None)
    assert manifest.serving.preferred_batch_sizes == first.preferred_batch_sizes == (4,)


def test_promises_are_the_specs_bounds() -> None:
    promises = record(OUTCOME).promises
    assert (promises.latency_ms, promises.throughput_per_s, promises.size_mib, promises.memory_mib) == (
        15.0, None, None, None,
    )  # fmt: skip
    assert (promises.quality_metric, promises.quality_min, promises.quality_max_drop) == ("cosine", 0.99, None)
    assert (promises.quality_data, promises.concurrency, promises.batch) == ("eval.jsonl", 8, 1)


def test_a_default_bound_is_recorded_too() -> None:
    findings = Findings(target_spec(), "accuracy", "generated", (), (), {}, "")
    promises = record_findings(findings, "planned", KEPT).promises
    assert (promises.quality_min, promises.quality_max_drop, promises.latency_ms) == (None, 0.02, None)


def test_misses_are_recorded() -> None:
    missed = Verdict(False, None, ("budget missed",), (Miss("int8", "latency_ms", 2.0, 1.0),), "budget")
    manifest = record(OUTCOME, missed, BudgetSection(latency_ms=1))
    assert manifest.verdict.nearest == (MissRecord("int8", "latency_ms", 2.0, 1.0),)
    assert manifest.candidates[0].status == "budget_missed"
    assert manifest.candidates[0].measurements is not None
    assert manifest.candidates[0].measurements.p99_ms == 2.0


def test_a_refused_candidate_has_no_figures_of_speed() -> None:
    assert OUTCOME.quality is not None
    refused = replace(OUTCOME, quality=replace(OUTCOME.quality, low=0.5), is_rough=True)
    (candidate,) = record(refused).candidates
    assert candidate.status == "quality_missed"
    assert candidate.measurements is not None
    assert (candidate.measurements.p50_ms, candidate.measurements.p99_ms) == (None, None)
    assert candidate.measurements.throughput_per_s is None


def test_a_short_timing_has_a_figure_of_its_own() -> None:
    (candidate,) = record(replace(OUTCOME, is_rough=True)).candidates
    assert candidate.status == "outpaced"
    assert candidate.measurements is not None
    assert OUTCOME.measurement is not None
    assert candidate.measurements.short_p50_ms == OUTCOME.measurement.latencies[0].p50_ms
    assert (candidate.measurements.p50_ms, candidate.measurements.samples) == (None, None)


@pytest.mark.parametrize("judged", [True, False])
def test_a_failure_keeps_what_is_known(judged: bool) -> None:
    quality = OUTCOME.quality if judged else None
    failed = replace(OUTCOME, measurement=None, quality=quality, failure="killed by SIGKILL")
    (candidate,) = record(failed).candidates
    assert (candidate.status, candidate.failure) == ("failed", "killed by SIGKILL")
    assert (candidate.measurements is not None) == judged


def test_how_the_gpu_ran_belongs_to_long_timings() -> None:
    assert OUTCOME.measurement is not None
    state = GpuState(1980, 3201, 310.4, 54, ("power cap",))
    timed = replace(OUTCOME, measurement=replace(OUTCOME.measurement, gpu_states=(state,)))
    (candidate,) = record(timed).candidates
    assert candidate.measurements is not None
    assert candidate.measurements.gpu_states == (GpuStateRecord(1980, 3201, 310.4, 54, ("power cap",)),)
    (rough,) = record(replace(timed, is_rough=True)).candidates
    assert rough.measurements is not None
    assert rough.measurements.gpu_states == ()


def test_what_was_built_but_not_measured_has_not_failed() -> None:
    unjudged = Verdict(None, None, ("not measured",), (), None)
    (candidate,) = record(replace(OUTCOME, measurement=None), unjudged, state="built").candidates
    assert candidate.status == "built"
    failed = replace(OUTCOME, measurement=None, quality=None, failure="no kernel")
    assert record(failed, unjudged, state="built").candidates[0].status == "failed"
    exported = replace(failed, failure=f"{NOT_JUDGED}: no kernel for bf16")
    assert record(exported, unjudged, state="built").candidates[0].status == "built"


def test_an_engine_is_recorded_with_what_it_belongs_to() -> None:
    stamp = EngineStamp("8.6.0", "NVIDIA H200", "9.0", "570.86.15", "Linux x86_64", (), (), ("x=1",))
    assert record_engine(stamp) == EngineRecord("8.6.0", "NVIDIA H200", "9.0", "570.86.15", "Linux x86_64", ("x=1",))
