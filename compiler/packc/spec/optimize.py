"""[optimize]: what is best, where to look for it, and what a student and TensorRT engines are to be like."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from packc.spec.section import Bound, Section
from packc.tensors import Precision

Goal = Literal["latency", "throughput", "size", "cost"]
RuntimeName = Literal[
    "onnxruntime", "openvino", "torch", "onnxruntime-cuda", "onnxruntime-tensorrt", "tensorrt", "torch-cuda"
]


class DistillSection(Section):
    """[optimize] distill: a student of fewer layers, trained on text to answer as the model does."""

    layers: int = Field(ge=1, description="Layers of the student; the model has more.")
    steps: int = Field(default=300, ge=1, le=100_000, description="Training steps, at most.")
    data: str | None = Field(
        default=None, description="Text to train on, labels unused; the workload's or the calibration data by default."
    )
    max_minutes: float = Field(
        default=15.0, gt=0, allow_inf_nan=False, description="Training ends after this time, whatever its steps."
    )


def _read_distill(value: object) -> object:
    """`distill = 3` is short for `distill = { layers = 3 }`."""
    return {"layers": value} if isinstance(value, int) and not isinstance(value, bool) else value


DistillOption = Annotated[
    DistillSection | None, BeforeValidator(_read_distill, json_schema_input_type=DistillSection | int | None)
]


class TensorRtSection(Section):
    """[optimize.tensorrt]: how TensorRT builds engines."""

    profiles: Literal["one", "per_case"] = Field(
        default="per_case",
        description="Optimization profiles tuned for the cases of the workload, the typical and the largest, or 'one', "
        "for the typical case. Each takes a minute or more to build. Where cases differ in the batch alone, each has a "
        "profile of its very shape, and a further one takes the rest.",
    )
    level: int | None = Field(
        default=None, ge=0, le=5, description="Builder optimization level, where this TensorRT has it; its own default."
    )
    version_compatible: bool = Field(
        default=False, description="Engines that later versions of TensorRT load too; they may be slower."
    )
    hardware_compatible: Literal["none", "ampere_plus", "same_compute_capability"] = Field(
        default="none", description="Engines that other GPUs load too; they may be slower."
    )


class OptimizeSection(Section):
    """[optimize]: what is best, and where to look for it."""

    goal: Goal = Field(default="latency", description="What to improve among candidates that keep every promise.")
    precisions: tuple[Precision, ...] | None = Field(
        default=None, min_length=1, description="Precisions to try; all that the target has when it is left out."
    )
    runtimes: tuple[RuntimeName, ...] | None = Field(
        default=None,
        min_length=1,
        description="Inference libraries to try; all that compile for the target by default.",
    )
    max_minutes: Bound = Field(
        default=0.0,
        description="Time for checking and timing candidates and for trying ways of serving, read between these steps: "
        "what was started is finished. The export, a student's training and the verification come on top. 0: no limit.",
    )
    distill: DistillOption = Field(
        default=None, description="Layers of a student to train and compile as well, or a table; none by default."
    )
    prune: float | None = Field(
        default=None,
        gt=0,
        le=0.9,
        description="Share of attention heads and feed-forward neurons to remove in further candidates.",
    )
    tensorrt: TensorRtSection = Field(default=TensorRtSection(), description="How TensorRT builds engines.")
