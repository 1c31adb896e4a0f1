"""ONNX Runtime on CPUs: its recipes, and how Triton's onnxruntime backend serves what they make."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

from packc.candidate import Candidate, OptionValue, PassStep, Rejection
from packc.ingest.source import SourceInfo
from packc.runtimes.runtime import Runtime, is_transformer, pads_left, refuse_kind
from packc.spec.model import Task
from packc.target import Target
from packc.tensors import Precision

FUSED = (
    PassStep("clean_graph"),
    PassStep("fuse_layer_norm"),
    PassStep("fuse_gelu"),
    PassStep("fuse_attention"),
    PassStep("shield_layer_norm"),
)
PACKED = (*FUSED, PassStep("remove_padding"))
CLEAN = FUSED[:1]
SMOOTH = PassStep("smooth_outliers")
QUANTIZERS = ("quantize_dynamic", "quantize_static")
"""Passes whose products are of 8-bit activations."""

SENTENCE_TASKS: tuple[Task, ...] = ("sentence-similarity", "feature-extraction", "text-classification")
"""One answer a text, however long: padding can be left out."""
IMAGE_TASKS: tuple[Task, ...] = (
    "image-classification",
    "image-feature-extraction",
    "object-detection",
    "image-segmentation",
    "depth-estimation",
)


@dataclass(frozen=True, slots=True)
class Recipe:
    """A candidate in waiting: the passes, and the models that they make sense for."""

    id: str
    precision: Precision
    fits: Callable[[SourceInfo], bool]
    passes: tuple[PassStep, ...]
    saturating: Mapping[str, OptionValue] = field(default_factory=lambda: {"reduce_range": True})
    """Options of its quantizer that keep sums exact on CPUs that would cut them off."""
    is_for_saturating: bool = False
    """Whether it makes sense on such CPUs alone."""


def _is_any(info: SourceInfo) -> bool:
    return True


def _has_geometry(info: SourceInfo) -> bool:
    return info.geometry is not None


def _is_sentence_encoder(info: SourceInfo) -> bool:
    """One whose first position holds a token of the text, which padding on the left would displace."""
    return info.task in SENTENCE_TASKS and not pads_left(info)


def _is_other(info: SourceInfo) -> bool:
    """A convolutional network, or tensors of which nothing is known."""
    return not is_transformer(info)


def _is_unknown(info: SourceInfo) -> bool:
    return _is_other(info) and info.task not in IMAGE_TASKS


RECIPES = (
    Recipe("onnxruntime-fp32", "fp32", _is_any, ()),
    Recipe("onnxruntime-fp32-fused", "fp32", is_transformer, FUSED),
    Recipe("onnxruntime-fp32-packed", "fp32", _is_sentence_encoder, PACKED),
    Recipe("onnxruntime-int8-dynamic", "int8", is_transformer, (*FUSED, PassStep("quantize_dynamic"))),
    Recipe("onnxruntime-int8-dynamic-smooth", "int8", is_transformer, (*FUSED, SMOOTH, PassStep("quantize_dynamic"))),
    Recipe(
        "onnxruntime-int8-dynamic-smooth-packed",
        "int8",
        _is_sentence_encoder,
        (*PACKED, SMOOTH, PassStep("quantize_dynamic")),
    ),
    Recipe(
        "onnxruntime-int8-dynamic-smooth-u8",
        "int8",
        is_transformer,
        (*FUSED, SMOOTH, PassStep("quantize_dynamic")),
        saturating={"unsigned": True},
        is_for_saturating=True,
    ),
    Recipe(
        "onnxruntime-int8-dynamic-ffn",
        "int8",
        _has_geometry,
        (*FUSED, SMOOTH, PassStep("quantize_dynamic", {"exclude": "ffn_down"})),
        saturating={"unsigned": True},
    ),
    Recipe("onnxruntime-int8-weights", "int8", is_transformer, (*FUSED, PassStep("quantize_weights", {"bits": 8}))),
    Recipe("onnxruntime-int4-weights", "int4", is_transformer, (*FUSED, PassStep("quantize_weights", {"bits": 4}))),
    Recipe("onnxruntime-int8-static", "int8", _is_other, (*CLEAN, PassStep("quantize_static"))),
    Recipe("onnxruntime-int8-dynamic", "int8", _is_unknown, (*CLEAN, PassStep("quantize_dynamic"))),
)
"""In the order of a plan, the baseline first. Left out, as each loses quality or time and gains nothing: per-tensor or
unsigned weights, S8 activations, a reduced range where 8 bits are exact, and fixed ranges for transformers: on
all-MiniLM-L6-v2 a static graph keeps 76 % of the ten nearest neighbours, and without the FFN-down projections 95 % in
the time of dynamic-ffn, which keeps 97 %. Smaller blocks of weights are larger files, larger ones lose quality: 8 bits
in blocks of 32 keep 98 % of the neighbours, of 128 97 %; 4 bits 86 and 82 %."""

PRUNABLE = ("onnxruntime-fp32-fused", "onnxruntime-int8-dynamic-smooth")
"""Candidates that are also offered with fewer heads and neurons, where the spec asks for it."""

NO_KERNELS: Mapping[Precision, str] = {
    "bf16": "ONNX Runtime's CPU provider has no bf16 kernels (checked in 1.31)",
    "fp16": "ONNX Runtime's CPU provider computes fp16 graphs in fp32 between casts: no faster (checked in 1.31)",
    "tf32": "ONNX Runtime's CPU provider has no tf32",
    "fp8": "ONNX Runtime's CPU provider has no fp8 kernels",
}


SATURATES = (
    "has no VNNI: its sums of products with them would be cut off at 16 bits, so weights have 7 bits (reduce_range)"
    " or, slower and closer, are unsigned"
)


def _fit_weights(recipe: Recipe, target: Target) -> tuple[PassStep, ...]:
    """The passes of a recipe, with weights whose sums are exact where the target cuts off those of signed 8 bits."""
    if not target.saturates_int8:
        return recipe.passes
    return tuple(
        PassStep(step.name, {**step.options, **recipe.saturating}) if step.name in QUANTIZERS else step
        for step in recipe.passes
    )


def prune_candidates(candidates: Sequence[Candidate], share: float) -> tuple[Candidate, ...]:
    """The `PRUNABLE` ones among the candidates, pruned by the `share` once their operators are fused."""
    step = PassStep("prune_structure", {"share": share})
    return tuple(
        replace(candidate, id=f"{candidate.id}-pruned", passes=(*FUSED, step, *candidate.passes[len(FUSED) :]))
        for candidate in candidates
        if candidate.id in PRUNABLE
    )


class OnnxRuntime(Runtime):
    """ONNX Runtime's CPU provider."""

    name = "onnxruntime"
    library = "onnxruntime"
    device: Literal["cpu", "gpu"] = "cpu"
    requirement = "onnxruntime>=1.23"
    engine = Path(__file__).with_name("onnxruntime_engine.py")
    model_filename = "model.onnx"

    def precisions(self, target: Target) -> tuple[Precision, ...]:
        return tuple(dict.fromkeys(recipe.precision for recipe in RECIPES))

    def candidates(
        self, info: SourceInfo, target: Target, precisions: tuple[Precision, ...]
    ) -> tuple[tuple[Candidate, ...], tuple[Rejection, ...]]:
        if target.kind != "cpu":
            return (), (refuse_kind(self.name, target),)
        offered = tuple(
            Candidate(recipe.id, self.name, recipe.precision, _fit_weights(recipe, target))
            for recipe in RECIPES
            if recipe.precision in precisions
            and recipe.fits(info)
            and (target.saturates_int8 or not recipe.is_for_saturating)
        )
        refused = tuple(
            Rejection(f"{self.name}-{precision}", NO_KERNELS[precision])
            for precision in precisions
            if precision in NO_KERNELS
        )
        if target.saturates_int8 and any(candidate.precision == "int8" for candidate in offered):
            refused += (Rejection("onnxruntime-int8 with signed weights in 8 bits", f"{target.name} {SATURATES}"),)
        return offered, refused

    def job_options(self, candidate: Candidate, threads: int) -> Mapping[str, OptionValue]:
        return {"spinning": True}

    def configure_triton(self, config: Any, options: Mapping[str, OptionValue], threads: int) -> None:
        config.backend = "onnxruntime"
        config.default_model_filename = self.model_filename
        config.parameters["intra_op_thread_count"].string_value = str(threads)
        config.parameters["inter_op_thread_count"].string_value = "1"

    def versions(self) -> Mapping[str, str]:
        try:
            return {self.library: version(self.library)}
        except PackageNotFoundError:
            return {}
