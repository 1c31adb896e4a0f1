"""Manifests for tests of what reads them: a build that kept its promises, and others that did not."""

from __future__ import annotations

from dataclasses import replace

from packc.package.insight import LayerRecord, LimitRecord, LimitsRecord, PeakRecord, SensitivityRecord
from packc.package.manifest import (
    CandidateRecord,
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
    TriedPlanRecord,
    VerdictRecord,
)
from packc.select import NOT_RUN

METRIC = "neighbour_agreement"
CHOSEN = "onnxruntime-int8-dynamic-skip-ffn-down"
_FUSIONS = ("fuse_layer_norm", "fuse_attention[heads=12]", "fuse_gelu", "fold_constants")
_RULE = TriedPlanRecord(
    CHOSEN, 2, 1, 8, 0, (), "ensemble", "pad", LoadRecord(701.2, 10.9, 17.4), True, LoadRecord(700.9, 11.3, 19.6), False
)
_FASTER = TriedPlanRecord(
    CHOSEN, 1, 2, 8, 0, (), "ensemble", "pad", LoadRecord(841.7, 6.4, 9.2), False, LoadRecord(818.3, 6.1, 9.9), True
)
_BROKEN = TriedPlanRecord(
    "onnxruntime-fp32-fused", 1, 1, 8, 400, (4,), "in_process", "sorted", LoadRecord(850.2, 6.3, 9.0), False,
    None, False, "Triton did not start: out of memory",
)  # fmt: skip


_PARTS = {"query": 0.003, "key": 0.02, "value": 0.006, "out": 0.008, "up": 0.014, "down": 0.016}
SENSITIVITY = SensitivityRecord(
    "onnxruntime",
    16,
    (
        *(
            LayerRecord(
                f"layer{block}_{part}",
                f"ffn {part}" if part in ("up", "down") else f"attention {part}",
                block,
                error * (1 + 0.2 * block),
                0.08 if part in ("up", "down") else 0.02,
                part == "key" and block > 0,
            )
            for block in range(4)
            for part, error in _PARTS.items()
        ),
        LayerRecord("classifier", "other", None, 0.006, 0.04, False),
    ),
)
"""Four blocks whose keys suffer most, and a classifier."""


def make_kept_manifest() -> Manifest:
    """Verified: seven candidates of every kind, the chosen one served within its budget."""
    return Manifest(
        model="minilm",
        target="cpu",
        profile="host",
        state="verified",
        verdict=VerdictRecord(
            True,
            CHOSEN,
            (
                "budget met: p99 9.83 ms of 15 ms (served, 8 clients)",
                f"quality kept: {METRIC} 0.9312 (95 % interval 0.9153 to 0.9461), bound at least 0.9 (served)",
                "without the server: p99 2.61 ms of 15 ms (batch 1, 32 tokens, 2 threads)",
                "fastest of 3 that keep every promise: p50 2.12 ms, then onnxruntime-fp32-fused (p50 3.82 ms)",
            ),
        ),
        promises=PromiseRecord(15.0, 99.0, None, None, None, METRIC, 0.90, "eval.jsonl", concurrency=8),
        candidates=(
            make_candidate("fp32-plain", "fp32", "kept", _timed(4.83, 5.61, 207.3, 90.4, 402.1, (1.0, 1.0, 1.0)), ()),
            make_candidate("fp32-fused", "fp32", "kept", _timed(3.82, 4.41, 261.2, 90.2, 398.7, (1.0, 0.9996, 1.0))),
            replace(
                make_candidate("bf16-fused", "bf16", "failed", None),
                failure="killed by SIGSEGV while loading: no kernel for Attention in bfloat16",
            ),
            make_candidate("int8-dynamic", "int8", "quality_missed", _checked(0.911, 0.894, 0.926)),
            make_candidate(
                "int8-dynamic-skip-ffn-down",
                "int8",
                "chosen",
                _timed(2.12, 2.61, 471.7, 31.8, 241.6, (0.9312, 0.9153, 0.9461)),
            ),
            make_candidate("int8-static", "int8", "quality_missed", _checked(0.38, 0.33, 0.42)),
            replace(
                make_candidate(
                    "int8-static-skip-ffn-down",
                    "int8",
                    "budget_missed",
                    replace(_timed(14.97, 21.4, 66.8, 31.9, 260.2, (0.952, 0.938, 0.964)), noisy=True),
                ),
                warnings=("fuse_attention: 5 of 6 expected fusions happened",),
            ),
        ),
        rejected=(
            RejectedRecord("fp16", "this CPU computes fp16 by converting to fp32: nothing to gain"),
            RejectedRecord("openvino", "the package openvino is not installed: pip install openvino"),
        ),
        served=ServedRecord(
            6.12,
            9.83,
            812.4,
            8,
            1200,
            "triton 2.51.0",
            9.83,
            99.0,
            "http",
            QualityRecord(METRIC, 0.9312, 0.9153, 0.9461),
            3.1e-06,
        ),
        environment={"packc": "0.1.0", "python": "3.11.7", "onnxruntime": "1.31.1", "device": "AMD EPYC (2 cores)"},
        serving=ServingRecord(
            1, 2, 8, 0, ("one instance with both cores was fastest at 8 clients",), tried=(_RULE, _FASTER, _BROKEN)
        ),
        files={f"model_repository/minilm{suffix}/config.pbtxt": "ab" * 32 for suffix in ("", "_model", "_tokenizer")},
    )


def make_halved_manifest() -> Manifest:
    """One candidate was left behind after its short timing; the physical limit is known."""
    kept = make_kept_manifest()
    behind = replace(_checked(0.98, 0.97, 0.99), size_mib=44.0, peak_rss_mib=250.0, load_s=0.4, short_p50_ms=5.12)
    return replace(
        kept,
        candidates=(*kept.candidates, make_candidate("fp32-other", "fp32", "outpaced", behind)),
        limits=LimitsRecord(
            gflop=0.684,
            weights=10.6e6,
            batch=1,
            sequence=32,
            threads=2,
            source="measured here",
            peaks=(PeakRecord("fp32", 230.4, "onnxruntime"), PeakRecord("int8", 570.0, "onnxruntime")),
            candidates=(
                LimitRecord("onnxruntime-fp32-plain", 2.97, 0.615, "compute", 230.4, "fp32"),
                LimitRecord("onnxruntime-fp32-fused", 2.97, 0.777, "compute", 230.4, "fp32"),
                LimitRecord(CHOSEN, 1.2, 0.566, "compute", 570.0, "int8"),
            ),
        ),
    )


def make_missed_manifest() -> Manifest:
    """Measured, without a server, on generated inputs: nothing keeps every promise, so nothing was chosen."""
    kept = make_kept_manifest()
    return replace(
        kept,
        state="measured",
        served=None,
        serving=None,
        files={},
        verdict=VerdictRecord(
            False,
            None,
            (
                "budget missed: 1 candidate keeps the quality bound, none the budget",
                "nearest: onnxruntime-int8-static-skip-ffn-down: p99 21.4 ms of 15 ms, 42.7 % over",
            ),
            (MissRecord("onnxruntime-int8-static-skip-ffn-down", "latency_ms", 21.4, 15.0),),
        ),
        promises=replace(kept.promises, quality_data="generated", size_mib=30.0),
        candidates=tuple(record for record in kept.candidates if record.status not in ("kept", "chosen")),
    )


def make_allowed_manifest() -> Manifest:
    """Published with --allow-miss: the server was slower than the budget."""
    kept = make_kept_manifest()
    assert kept.served is not None
    return replace(
        kept,
        verdict=VerdictRecord(
            False,
            CHOSEN,
            ("budget missed: p99 18 ms of 15 ms, 20 % over (served, 8 clients)",),
            (MissRecord(CHOSEN, "latency_ms", 18.0, 15.0),),
        ),
        served=replace(kept.served, p99_ms=18.0, latency_ms=18.0, noisy=True),
    )


def make_imported_manifest() -> Manifest:
    """Of job bundles: one failed on the device, and two did not run there, of which one was judged before."""
    missed = make_missed_manifest()
    crashed, *others = missed.candidates
    judged, unjudged = others[0], make_candidate("fp16-fused", "fp16", "not_run", None)
    assert judged.measurements is not None
    waiting = replace(judged, status="not_run", failure=NOT_RUN, measurements=_checked(0.931, 0.915, 0.946))
    return replace(missed, candidates=(crashed, waiting, replace(unjudged, failure=NOT_RUN), *others[1:]))


def make_planned_manifest() -> Manifest:
    """Planned for a device that is elsewhere: no figure at all."""
    kept = make_kept_manifest()
    return replace(
        kept,
        target="edge",
        profile="jetson-orin-nano-8gb",
        state="planned",
        served=None,
        serving=None,
        files={},
        environment={},
        rejected=(),
        verdict=VerdictRecord(None, None, ("the device is elsewhere: run the jobs there",)),
        candidates=tuple(
            replace(record, status="planned", failure=None, measurements=None, warnings=())
            for record in kept.candidates
        ),
    )


def make_error_manifest() -> Manifest:
    """Quality is an error (smaller is better) over six decades; latency has no bound; quality was not judged served."""
    kept = make_kept_manifest()
    assert kept.served is not None
    errors = (1e-06, 2e-06, 0.0, 0.02, 0.004, 0.3, 0.012)
    return replace(
        kept,
        promises=replace(kept.promises, latency_ms=None, quality_metric="max_error", quality_min=0.01),
        served=replace(kept.served, quality=None),
        candidates=tuple(
            replace(
                record,
                measurements=record.measurements
                and replace(record.measurements, quality=QualityRecord("max_error", error, error * 0.8, error * 1.3)),
            )
            for record, error in zip(kept.candidates, errors, strict=True)
        ),
    )


def make_mixed_manifest() -> Manifest:
    """As `make_kept_manifest`, the layers measured one by one."""
    return replace(make_kept_manifest(), sensitivity=SENSITIVITY)


def make_crowded_manifest(count: int = 24) -> Manifest:
    """`count` candidates whose points lie close together."""
    kept = make_kept_manifest()
    chosen = next(record for record in kept.candidates if record.id == CHOSEN)
    others = (
        make_candidate(
            f"variant-number-{i}",
            "int8",
            "kept",
            _timed(
                2 + i * 0.05, 2.5 + i * 0.06, 400, 30, 200, (0.93 + i * 0.002, 0.915 + i * 0.002, 0.945 + i * 0.002)
            ),
        )
        for i in range(1, count)
    )
    return replace(kept, candidates=(chosen, *others))


def make_candidate(
    name: str,
    precision: str,
    status: str,
    measurements: MeasurementRecord | None,
    passes: tuple[str, ...] = _FUSIONS,
) -> CandidateRecord:
    """A candidate of ONNX Runtime named `onnxruntime-<name>`."""
    return CandidateRecord(f"onnxruntime-{name}", "onnxruntime", precision, passes, status, None, measurements)


def _timed(
    p50_ms: float,
    p99_ms: float,
    per_s: float,
    size_mib: float,
    rss_mib: float,
    quality: tuple[float, float, float],
) -> MeasurementRecord:
    return MeasurementRecord(
        p50_ms,
        p99_ms,
        per_s,
        size_mib,
        rss_mib,
        0.3,
        QualityRecord(METRIC, *quality),
        batch=1,
        sequence=32,
        samples=420,
        threads=2,
        max_p50_ms=p50_ms * 40,
    )


def _checked(value: float, low: float, high: float) -> MeasurementRecord:
    """Judged by the quality gate and refused before it was timed."""
    return MeasurementRecord(None, None, None, None, None, None, QualityRecord(METRIC, value, low, high))


HELD_BACK = (GpuStateRecord(1980, 3201, 310.4, 54, ()), GpuStateRecord(1725, 3201, 700.0, 83, ("power cap",)))
"""The states of two rounds on a GPU."""


def make_gpu_manifest(
    *states: GpuStateRecord, notes: tuple[str, ...] = (), device_memory_mib: float | None = None
) -> Manifest:
    """The kept one, as if a GPU had run so after the rounds of the chosen candidate, which took that much of it."""
    manifest = make_kept_manifest()
    candidates = tuple(
        replace(
            record,
            measurements=replace(record.measurements, gpu_states=states, device_memory_mib=device_memory_mib),
        )
        if record.id == CHOSEN and record.measurements
        else record
        for record in manifest.candidates
    )
    return replace(manifest, candidates=candidates, device_notes=notes)
