"""The spec as people write it: one strict, closed, frozen pydantic model a TOML section.

Units are in the names. `0` for an optional bound means "no bound". Paths are relative to the spec file;
`read_spec` has resolved them. Nothing here reads a file.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from packc.spec.optimize import OptimizeSection
from packc.spec.section import Bound, Finite, Name, Section

Task = Literal[
    "sentence-similarity",
    "feature-extraction",
    "text-classification",
    "text-ranking",
    "token-classification",
    "question-answering",
    "fill-mask",
    "image-classification",
    "image-feature-extraction",
    "object-detection",
    "image-segmentation",
    "depth-estimation",
    "audio-classification",
    "audio-feature-extraction",
    "automatic-speech-recognition",
    "tensors",
]
"""What the model answers. "tensors" is a model without a known task: tensors in, tensors out."""

MetricName = Literal[
    "cosine",
    "spearman",
    "neighbour_agreement",
    "top1_agreement",
    "accuracy",
    "max_error",
    "mean_error",
]

ERROR_METRICS: tuple[MetricName, ...] = ("max_error", "mean_error")
"""Metrics that are better when smaller; no other exceeds 1."""

Pipeline = Literal["auto", "text", "image", "none"]
Pooling = Literal["mean", "cls", "max", "none"]


class ModelSection(Section):
    """[model]: what to compile."""

    name: Name = Field(description="Name of the Triton model that clients call.")
    source: str = Field(
        min_length=1,
        description="Checkpoint folder or hub id, an .onnx file, or 'package.module:factory'.",
    )
    revision: str | None = Field(default=None, description="Hub revision (commit, tag or branch).")
    task: Task | None = Field(default=None, description="Inferred from the checkpoint where it can be.")
    pooling: Pooling | None = Field(
        default=None,
        description="How token vectors become one vector; read from a sentence-transformers folder.",
    )
    trust_remote_code: bool = Field(
        default=False, description="Allow a checkpoint to run its own Python code while it is exported."
    )


class Range(Section):
    """A size that varies: its usual value and the largest that must be served."""

    typical: int = Field(ge=1, description="What most requests have.")
    max: int = Field(ge=1, description="The largest that must be served.")

    @model_validator(mode="after")
    def _check_order(self) -> Range:
        if self.typical > self.max:
            raise ValueError(f"typical ({self.typical}) is above max ({self.max})")
        return self


class PartialRange(Section):
    """An override of a range: what is left out keeps its common value."""

    typical: int | None = Field(default=None, ge=1, description="What most requests have.")
    max: int | None = Field(default=None, ge=1, description="The largest that must be served.")


class Traffic(Section):
    """What a workload says apart from its shapes."""

    data: str | None = Field(default=None, description="Real requests; gives lengths and load-test payloads.")
    concurrency: int = Field(default=1, ge=1, le=4096, description="Clients in flight at once.")
    rate_per_s: Bound = Field(default=0.0, description="Requests a second instead of a fixed concurrency.")


class WorkloadSection(Traffic):
    """[workload]: the traffic that the budget is about."""

    batch: Range = Field(default=Range(typical=1, max=8), description="Samples in one request.")
    sequence: Range | None = Field(
        default=None, description="Tokens in one sample; taken from `data` when it is left out."
    )


class WorkloadOverride(Traffic):
    """[targets.NAME.workload]: the keys of [workload] that differ for one target."""

    batch: PartialRange | None = None
    sequence: PartialRange | None = None


class BudgetSection(Section):
    """[budget]: promises about cost; 0 means no bound."""

    latency_ms: Bound = Field(default=0.0, description="Latency of a request at `percentile`, at most.")
    percentile: float = Field(default=99.0, gt=0, lt=100, description="The percentile that `latency_ms` bounds.")
    throughput_per_s: Bound = Field(default=0.0, description="Samples a second, at least.")
    size_mib: Bound = Field(default=0.0, description="Size of the model's files, at most.")
    memory_mib: Bound = Field(default=0.0, description="Peak resident memory, at most.")


class QualitySection(Section):
    """[quality]: the promise about answers, judged at the lower end of the metric's 95 % interval."""

    metric: MetricName | None = Field(default=None, description="By task when it is left out.")
    min: Finite | None = Field(default=None, description="The metric must reach this (errors: stay at or below).")
    max_drop: Bound | None = Field(default=None, description="The metric may fall this far below the source model's.")
    data: str | None = Field(default=None, description="Evaluation samples.")

    @model_validator(mode="after")
    def _check_one_bound(self) -> QualitySection:
        if self.min is not None and self.max_drop is not None:
            raise ValueError("give `min` or `max_drop`, not both")
        return self


def _check_reach(quality: QualitySection) -> QualitySection:
    """Refuses a bound that no candidate can reach; not the section's own matter: an override may hold one key alone."""
    if quality.min is not None:
        metric = quality.metric or "the metric"
        if quality.metric in ERROR_METRICS and quality.min < 0:
            raise ValueError(f"min ({quality.min:g}) is below 0, the least that {metric} can be")
        if quality.metric not in ERROR_METRICS and quality.min > 1:
            raise ValueError(f"min ({quality.min:g}) is above 1, the most that {metric} can be")
    return quality


WholeQuality = Annotated[QualitySection, AfterValidator(_check_reach)]


class CalibrationSection(Section):
    """[calibration]: samples that quantization may look at."""

    data: str | None = Field(
        default=None, description="When it is left out: [workload] data, else the evaluation data."
    )
    samples: int = Field(default=128, ge=1, le=100_000, description="How many of them to use, at most: the first ones.")


class ServeSection(Section):
    """[serve]: what clients send and get."""

    pipeline: Pipeline = Field(
        default="auto", description="What clients send: text, encoded images, or (none) the model's own tensors."
    )
    cache: bool = Field(default=False, description="Switch Triton's response cache on.")
    warmup: bool = Field(default=True, description="Warm the model up with real samples while it loads.")


class TargetSection(Section):
    """[targets.NAME]: one device, and what differs for it, key by key: `budget.latency_ms = 40` changes that alone."""

    profile: str = Field(
        min_length=1,
        description="'host', 'host-gpu', a shipped profile (`pack targets`), or the path of a TOML profile.",
    )
    workload: WorkloadOverride | None = None
    budget: BudgetSection | None = None
    quality: QualitySection | None = None
    calibration: CalibrationSection | None = None
    optimize: OptimizeSection | None = None
    serve: ServeSection | None = None


class Spec(Section):
    """A whole spec file."""

    model: ModelSection = Field(description='Needs `name = "..."` and `source = "..."`.')
    workload: WorkloadSection = WorkloadSection()
    budget: BudgetSection = BudgetSection()
    quality: WholeQuality = QualitySection()
    calibration: CalibrationSection = CalibrationSection()
    optimize: OptimizeSection = OptimizeSection()
    serve: ServeSection = ServeSection()
    targets: dict[Name, TargetSection] = Field(
        min_length=1,
        description='At least one [targets.NAME] with its `profile`; "host" is this machine, "host-gpu" its GPU.',
    )
    combine: dict[Name, tuple[Name, ...]] = Field(
        default={},
        description='Packages for several NVIDIA GPUs: `fleet = ["a100", "l4"]` also puts those two targets into one '
        "repository, build/MODEL/fleet.",
    )


class TargetSpec(Section):
    """What one target is built from: every section with that target's overrides applied key by key."""

    target: Name
    profile: str
    model: ModelSection
    workload: WorkloadSection
    budget: BudgetSection
    quality: WholeQuality
    calibration: CalibrationSection
    optimize: OptimizeSection
    serve: ServeSection
