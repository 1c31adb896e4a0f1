"""The ways of serving that were tried, in words: the plan, what was predicted of it and what a server made of it."""

from __future__ import annotations

from packc.package.manifest import LoadRecord, Manifest, ServingRecord, TriedPlanRecord
from packc.report.figures import show_figure
from packc.serving.plan import ServingPlan, describe_plan


def list_tried(manifest: Manifest) -> tuple[TriedPlanRecord, ...]:
    """In the order in which they were tried; empty where the workload's rule decided."""
    return manifest.serving.tried if manifest.serving else ()


def describe_tried_plan(record: TriedPlanRecord | ServingRecord) -> str:
    """`2 instances of 1 thread, batches up to 4`."""
    return describe_plan(
        ServingPlan(
            record.instances,
            record.threads,
            record.max_batch_size,
            record.queue_delay_us,
            (),
            front="in_process" if record.front == "in_process" else "ensemble",
            preferred_batch_sizes=record.preferred_batch_sizes,
            cuda_graphs=record.cuda_graphs,
        )
    )


def describe_tried(record: TriedPlanRecord, percentile: float) -> str:
    """The plan, then `predicted ...; served ...`, with the failure in place of figures that were not had."""
    word = "fitted" if record.is_fitted else "predicted"
    predicted = f"{word} {describe_load_record(record.predicted, percentile)}" if record.predicted else ""
    served = f"served {describe_load_record(record.served, percentile)}" if record.served else ""
    failed = f"failed: {record.failure}" if record.failure else ""
    parts = [part for part in (predicted, served, failed) if part]
    return f"{describe_tried_plan(record)}: {'; '.join(parts)}"


def describe_load_record(record: LoadRecord, percentile: float) -> str:
    """`410 samples/s, p50 4.8 ms, p99 9.1 ms`."""
    return (
        f"{show_figure(record.throughput_per_s)} samples/s, p50 {show_figure(record.p50_ms)} ms, "
        f"p{percentile:g} {show_figure(record.latency_ms)} ms"
    )
