"""manifest.json: the versioned record of one target's build, as dataclasses that mirror the file key by key."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from packc.package.insight import LimitsRecord, SensitivityRecord

State = Literal["planned", "built", "measured", "verified"]
SCHEMA = 1
ON_THE_DEVICE = " on the device"
"""Ends the names of those versions in `Manifest.environment` that job bundles ran with."""


@dataclass(frozen=True, slots=True)
class QualityRecord:
    """Mirrors packc.quality.score.QualityScore, field by field."""

    metric: str
    value: float
    low: float
    high: float
    samples: int = 0
    reference: float = 1.0
    worst_drop: float = 0.0


@dataclass(frozen=True, slots=True)
class GpuStateRecord:
    """Mirrors packc.jobs.job.GpuState, field by field: how the GPU ran at the end of a round."""

    sm_mhz: int | None
    memory_mhz: int | None
    power_w: float | None
    temperature_c: int | None
    limits: tuple[str, ...] | None


@dataclass(frozen=True, slots=True)
class MeasurementRecord:
    p50_ms: float | None
    p99_ms: float | None
    throughput_per_s: float | None
    size_mib: float | None
    peak_rss_mib: float | None
    load_s: float | None
    quality: QualityRecord | None
    noisy: bool = False
    batch: int | None = None
    sequence: int | None = None
    samples: int | None = None
    threads: int | None = None
    max_p50_ms: float | None = None
    """p50 at the largest shape of the workload."""
    short_p50_ms: float | None = None
    """Median of a few calls: of a candidate that was behind then and has no other figure of speed."""
    device_memory_mib: float | None = None
    """Of a GPU's memory, what the model took."""
    gpu_states: tuple[GpuStateRecord, ...] = ()
    """How the GPU ran, read after the calls of each round; empty where nobody told."""


@dataclass(frozen=True, slots=True)
class CandidateRecord:
    id: str
    runtime: str
    precision: str
    passes: tuple[str, ...]
    status: str
    failure: str | None
    measurements: MeasurementRecord | None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class MissRecord:
    candidate: str
    promise: str
    measured: float | None
    """None where nobody knows it, which keeps no bound."""
    bound: float


@dataclass(frozen=True, slots=True)
class VerdictRecord:
    met: bool | None
    chosen: str | None
    reasons: tuple[str, ...]
    nearest: tuple[MissRecord, ...] = ()


@dataclass(frozen=True, slots=True)
class ServedRecord:
    """Figures through the server, under the workload's load."""

    p50_ms: float
    p99_ms: float
    throughput_per_s: float
    concurrency: int
    samples: int
    server: str
    latency_ms: float
    """At the budget's percentile: the figure that the budget is judged on."""
    percentile: float
    protocol: str
    quality: QualityRecord | None
    golden_max_error: float
    """Largest absolute difference between served answers and the chosen artifact's own, over HTTP and gRPC."""
    rate_per_s: float = 0.0
    """Requests a second that arrived instead of a fixed concurrency; 0 for none."""
    batch: int = 1
    """Samples in one request."""
    noisy: bool = False
    """Latency drifted during the run, as when other work shares the machine."""


@dataclass(frozen=True, slots=True)
class PromiseRecord:
    """The bounds that the verdict is about; None where the spec set none."""

    latency_ms: float | None
    percentile: float
    throughput_per_s: float | None
    size_mib: float | None
    memory_mib: float | None
    quality_metric: str
    quality_min: float | None
    quality_data: str
    """Where the evaluation samples came from, or "generated"."""
    concurrency: int = 1
    """Of the workload that the bounds are about: clients in flight at once,"""
    rate_per_s: float = 0.0
    """or requests a second instead; 0 for none."""
    batch: int = 1
    """Samples in one request."""
    quality_max_drop: float | None = None
    """The bound where it is a drop below the source model's score."""


@dataclass(frozen=True, slots=True)
class LoadRecord:
    """What clients see of a plan under the workload's load: predicted, or served by a real server."""

    throughput_per_s: float
    """Samples a second."""
    p50_ms: float
    latency_ms: float
    """At the budget's percentile."""


@dataclass(frozen=True, slots=True)
class TriedPlanRecord:
    """A way of serving that a real server was measured with for a few seconds; without a server, the predicted best."""

    candidate: str
    instances: int
    threads: int
    max_batch_size: int
    queue_delay_us: int
    preferred_batch_sizes: tuple[int, ...]
    front: str
    lengths: str
    predicted: LoadRecord | None
    """None where the model was not timed for a prediction."""
    is_fitted: bool
    """Whether `predicted` was fitted to `served`: its throughput tells what a request costs beside the model."""
    served: LoadRecord | None
    """None where no server was asked."""
    is_chosen: bool
    failure: str | None = None
    """How it failed as served."""
    cuda_graphs: bool = True
    """Whether an engine that can record them did."""


@dataclass(frozen=True, slots=True)
class ServingRecord:
    """How Triton serves the chosen artifact, and why so."""

    instances: int
    threads: int
    max_batch_size: int
    queue_delay_us: int
    reasons: tuple[str, ...]
    front: str = "ensemble"
    preferred_batch_sizes: tuple[int, ...] = ()
    tried: tuple[TriedPlanRecord, ...] = ()
    """The plans that were tried before this one was chosen; empty where the workload's rule decided."""
    lengths: str = "pad"
    length_multiple: int = 1
    token_budget: int = 4096
    cuda_graphs: bool = True


@dataclass(frozen=True, slots=True)
class RejectedRecord:
    what: str
    reason: str


@dataclass(frozen=True, slots=True)
class StudentRecord:
    """Mirrors packc.ingest.student.Training, field by field: the student that candidates named `student...` are of."""

    layers: int
    of_layers: int
    steps: int
    samples: int
    loss_before: float
    loss_after: float
    seconds: float
    data: str
    of_steps: int = 0
    """That were asked for; 0 where that was not recorded."""


@dataclass(frozen=True, slots=True)
class CombinedRecord:
    """One target of a combined package, with the figures of its own package."""

    target: str
    profile: str
    compute_capability: str
    state: str
    """Of its own package."""
    candidate: str | None
    precision: str | None
    file: str | None
    """The artifact in the version folder; None where `remark` says why it has no part in the repository."""
    chosen_by: str
    """"default", "compute capability", or "config name", the server's flag: how a server comes to that artifact."""
    latency_ms: float | None = None
    """As its own package was served there: None where it was not."""
    percentile: float | None = None
    """Of that latency: a target may have a budget of its own."""
    throughput_per_s: float | None = None
    remark: str = ""
    is_loaded: bool = False
    """Whether a server has loaded this very repository as that target, and answered as it should."""
    missed: tuple[str, ...] = ()
    """The promises that its own package misses: "latency_ms", "quality", ... Empty of what was only built."""


@dataclass(frozen=True, slots=True)
class EngineRecord:
    """What the packaged TensorRT engine was built by and for."""

    tensorrt: str
    """In full, with its build."""
    device: str
    compute_capability: str
    driver: str
    os: str
    profiles: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Manifest:
    model: str
    target: str
    profile: str
    state: State
    verdict: VerdictRecord
    promises: PromiseRecord
    candidates: tuple[CandidateRecord, ...]
    rejected: tuple[RejectedRecord, ...]
    served: ServedRecord | None
    environment: dict[str, str]
    device_notes: tuple[str, ...] = ()
    """What a reader of the measurements must know of the device, in sentences: that a GPU is split, or shared."""
    serving: ServingRecord | None = None
    limits: LimitsRecord | None = None
    """None where the model's work or the device's peaks are not known, and where nothing was timed."""
    sensitivity: SensitivityRecord | None = None
    """None where no mixed precision was tried."""
    student: StudentRecord | None = None
    combined: tuple[CombinedRecord, ...] = ()
    """Of a package for several GPUs: all of its targets, the one that this manifest is about first."""
    engine: EngineRecord | None = None
    """None where the package holds no engine of TensorRT."""
    source_digest: str = ""
    """Of the model and of how it is asked: what packages must have alike to serve one model on several GPUs."""
    build_key: str = ""
    """Digest of all that the build depends on: an equal one means that nothing changed."""
    jobs_key: str = ""
    """Digest of what its job bundles are, or would be, made of: less than a build, which has a budget."""
    job_parts: dict[str, str] = field(default_factory=dict)
    """Digest of each of these by its name, so that an import can say what changed."""
    files: dict[str, str] = field(default_factory=dict)
    """Path relative to the target's folder -> sha256, of every file but the manifest and the report."""
    schema: int = SCHEMA
