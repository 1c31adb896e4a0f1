"""ONNX Runtime on NVIDIA GPUs: its recipes, and how Triton's onnxruntime backend serves what they make."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

from packc.candidate import Candidate, OptionValue, PassStep, Rejection
from packc.ingest.source import SourceInfo, SourceModel
from packc.runtimes.runtime import (
    GRAPH_PARAMETER,
    LENGTH_MULTIPLE,
    TEXT_TASKS,
    Runtime,
    is_transformer,
    pads_left,
)
from packc.target import Target, TargetKind
from packc.tensors import Precision

CLEAN = (PassStep("clean_graph"),)
FUSED = (*CLEAN, PassStep("fuse_layer_norm"), PassStep("fuse_gelu"), PassStep("fuse_attention"))
EMBEDDINGS = PassStep("merge_embeddings")
LENGTHS = PassStep("merge_attention", {"mask": "lengths"})
STARTS = PassStep("merge_attention", {"mask": "starts"})
MASK_AS_IT_IS = {"mask": "bias"}
ELEMENTWISE = (PassStep("merge_skip_norm"), PassStep("merge_bias_gelu"))
MERGED = (*FUSED, EMBEDDINGS, LENGTHS, *ELEMENTWISE)
FP16 = PassStep("cast_fp16")
BF16 = PassStep("cast_bf16")


@dataclass(frozen=True, slots=True)
class Recipe:
    """A candidate in waiting: passes, what the session is told, and the models that it makes sense for."""

    id: str
    precision: Precision
    fits: Callable[[SourceInfo], bool]
    passes: tuple[PassStep, ...]
    session: Mapping[str, OptionValue]
    """Options of the engine's `load`."""


def _is_any(info: SourceInfo) -> bool:
    return True


def _is_text(info: SourceInfo) -> bool:
    return info.task in TEXT_TASKS


def _is_other(info: SourceInfo) -> bool:
    """A convolutional network, or tensors of which nothing is known."""
    return not is_transformer(info)


GRAPH: Mapping[str, OptionValue] = {"graph": True}

RECIPES = (
    Recipe("onnxruntime-cuda-tf32", "tf32", _is_any, (), {"tf32": True}),
    Recipe("onnxruntime-cuda-fp32", "fp32", _is_any, (), {}),
    Recipe("onnxruntime-cuda-fp32-fused", "fp32", is_transformer, MERGED, GRAPH),
    Recipe("onnxruntime-cuda-fp32-fused", "fp32", _is_other, CLEAN, GRAPH),
    Recipe("onnxruntime-cuda-tf32-fused", "tf32", is_transformer, MERGED, {"tf32": True, **GRAPH}),
    Recipe("onnxruntime-cuda-tf32-nhwc", "tf32", _is_other, CLEAN, {"tf32": True, "nhwc": True, **GRAPH}),
    Recipe("onnxruntime-cuda-bf16-fused", "bf16", _is_text, (*FUSED, LENGTHS, *ELEMENTWISE, BF16), GRAPH),
    Recipe("onnxruntime-cuda-fp16-fused", "fp16", is_transformer, (*MERGED, FP16), GRAPH),
    Recipe(
        "onnxruntime-cuda-fp16-fused-starts",
        "fp16",
        _is_text,
        (*FUSED, EMBEDDINGS, STARTS, *ELEMENTWISE, FP16),
        GRAPH,
    ),
    Recipe("onnxruntime-cuda-fp16", "fp16", _is_other, (*CLEAN, FP16), GRAPH),
    Recipe("onnxruntime-cuda-fp16-nhwc", "fp16", _is_other, (*CLEAN, FP16), {"nhwc": True, **GRAPH}),
)
"""In the order of a plan, the baseline first: the exported graph under ONNX Runtime's own options, which compute fp32
products in tf32 where the GPU has it. `onnxruntime-cuda-fp32` is the same without tf32: the baseline of older GPUs."""

NO_RECIPE: tuple[Precision, ...] = ("fp8", "int8", "int4")

PROVIDER_OPTIONS = {"tf32": "use_tf32", "nhwc": "prefer_nhwc"}
"""Options of sessions -> those of the provider in a configuration."""

INSTALL = "onnxruntime-gpu is not installed: `pack doctor` has the command that brings it"
NO_CONVOLUTIONS = "the graph has no convolutions, whose channels could be laid out last"
PADS_LEFT = "the tokenizer pads on the left, and where texts begin is told from lengths: padding has to come last"


def _keep_mask(recipe: Recipe) -> Recipe:
    """The recipe with attention that takes any mask, in slower kernels."""
    any_mask = PassStep(LENGTHS.name, MASK_AS_IT_IS)
    return replace(recipe, passes=tuple(any_mask if step == LENGTHS else step for step in recipe.passes))


class OnnxRuntimeCuda(Runtime):
    """ONNX Runtime's CUDA provider."""

    name = "onnxruntime-cuda"
    library = "onnxruntime-gpu"
    device: Literal["cpu", "gpu"] = "gpu"
    kinds: tuple[TargetKind, ...] = ("cuda",)
    requirement = "onnxruntime-gpu[cuda,cudnn]>=1.23"
    length_multiple = LENGTH_MULTIPLE
    engine = Path(__file__).with_name("onnxruntime_cuda_engine.py")
    model_filename = "model.onnx"

    def __init__(self, measured: str | None = None) -> None:
        """`measured` is the version of onnxruntime-gpu that servers get; without, the one that is installed here."""
        self.measured = measured

    @property
    def server_requirement(self) -> str:
        """With CUDA and cuDNN of pip's, as servers need not have those that it was built with."""
        wanted = self.measured or self.versions().get(self.library)
        return f"{self.library}[cuda,cudnn]=={wanted}" if wanted else self.requirement

    def as_measured(self, versions: Mapping[str, str]) -> Runtime:
        return type(self)(versions.get(self.library))

    def precisions(self, target: Target) -> tuple[Precision, ...]:
        return tuple(dict.fromkeys(recipe.precision for recipe in RECIPES))

    def candidates(
        self, info: SourceInfo, target: Target, precisions: tuple[Precision, ...]
    ) -> tuple[tuple[Candidate, ...], tuple[Rejection, ...]]:
        if target.kind != "cuda":
            return (), ()  # nobody misses an NVIDIA runtime on another device
        if target.is_here and not self.versions():
            return (), (Rejection(self.name, INSTALL),)
        fitting = [recipe for recipe in RECIPES if recipe.precision in precisions and recipe.fits(info)]
        why = "pack has no recipe for it with ONNX Runtime's CUDA provider"
        refused = [Rejection(f"{self.name}-{p}", why) for p in precisions if p in NO_RECIPE]
        if pads_left(info):
            refused += [Rejection(recipe.id, PADS_LEFT) for recipe in fitting if STARTS in recipe.passes]
            fitting = [_keep_mask(recipe) for recipe in fitting if STARTS not in recipe.passes]
        offered = (Candidate(r.id, self.name, r.precision, r.passes, session=r.session) for r in fitting)
        return tuple(offered), tuple(refused)

    def explain_pointless(self, candidate: Candidate, source: SourceModel) -> str | None:
        is_nhwc = bool(candidate.session.get("nhwc", False))
        return NO_CONVOLUTIONS if is_nhwc and not source.has_convolutions else None

    def configure_triton(self, config: Any, options: Mapping[str, OptionValue], threads: int) -> None:
        """Provider options go through the accelerator "cuda", as the backend's README has it. CUDA graphs do not: the
        native backend binds other buffers in each request, and a graph would replay the old ones. The parameter
        GRAPH_PARAMETER asks the Python-based backend of pack for them, and "requirement" tells what that one needs; the
        native one reads neither."""
        config.backend = "onnxruntime"
        config.default_model_filename = self.model_filename
        config.parameters["intra_op_thread_count"].string_value = str(threads)
        config.parameters["inter_op_thread_count"].string_value = "1"
        accelerator = config.optimization.execution_accelerators.gpu_execution_accelerator.add(name="cuda")
        for ours, theirs in PROVIDER_OPTIONS.items():
            accelerator.parameters[theirs] = "1" if options.get(ours, False) else "0"
        config.parameters["requirement"].string_value = self.server_requirement
        if options.get("graph", False):
            config.parameters[GRAPH_PARAMETER].string_value = "1"

    def versions(self) -> Mapping[str, str]:
        try:
            return {"onnxruntime-gpu": version("onnxruntime-gpu")}
        except PackageNotFoundError:
            return {}
