"""ONNX Runtime on NVIDIA GPUs: its recipes, and how Triton's onnxruntime backend serves what they make."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

from packc.candidate import Candidate, OptionValue, PassStep, Rejection
from packc.ingest.source import SourceInfo
from packc.runtimes.onnxruntime import TEXT_TASKS
from packc.target import Target
from packc.tensors import Precision

CLEAN = (PassStep("clean_graph"),)
FUSED = (*CLEAN, PassStep("fuse_layer_norm"), PassStep("fuse_gelu"), PassStep("fuse_attention"))
EMBEDDINGS = PassStep("merge_embeddings")
LENGTHS = PassStep("merge_attention", {"mask": "lengths"})
STARTS = PassStep("merge_attention", {"mask": "starts"})
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


def _is_transformer(info: SourceInfo) -> bool:
    return info.geometry is not None or info.task in TEXT_TASKS


def _is_text(info: SourceInfo) -> bool:
    return info.task in TEXT_TASKS


def _is_other(info: SourceInfo) -> bool:
    """A convolutional network, or tensors of which nothing is known."""
    return not _is_transformer(info)


GRAPH: Mapping[str, OptionValue] = {"graph": True}

RECIPES = (
    Recipe("onnxruntime-cuda-fp32", "fp32", _is_any, (), {}),
    Recipe("onnxruntime-cuda-fp32-fused", "fp32", _is_transformer, MERGED, GRAPH),
    Recipe("onnxruntime-cuda-fp32-fused", "fp32", _is_other, CLEAN, GRAPH),
    Recipe("onnxruntime-cuda-tf32-fused", "tf32", _is_transformer, MERGED, {"tf32": True, **GRAPH}),
    Recipe("onnxruntime-cuda-tf32-nhwc", "tf32", _is_other, CLEAN, {"tf32": True, "nhwc": True, **GRAPH}),
    Recipe("onnxruntime-cuda-bf16-fused", "bf16", _is_text, (*FUSED, LENGTHS, *ELEMENTWISE, BF16), GRAPH),
    Recipe("onnxruntime-cuda-fp16-fused", "fp16", _is_transformer, (*MERGED, FP16), GRAPH),
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
"""In the order of a plan, the baseline first: the graph as it was exported, kernel by kernel, without tf32."""

NO_RECIPE: tuple[Precision, ...] = ("fp8", "int8", "int4")

PROVIDER_OPTIONS = {"tf32": "use_tf32", "nhwc": "prefer_nhwc"}
"""Options of sessions -> those of the provider in a configuration."""
GRAPH_PARAMETER = "pack_cuda_graph"


class OnnxRuntimeCuda:
    """ONNX Runtime's CUDA provider."""

    name = "onnxruntime-cuda"
    library = "onnxruntime"
    requirement = "onnxruntime-gpu>=1.23"
    compiler = None
    reads: Literal["graph", "source"] = "graph"
    server_requirement = "onnxruntime-gpu>=1.23"
    length_multiple = 1
    engine = Path(__file__).with_name("onnxruntime_cuda_engine.py")
    model_filename = "model.onnx"

    def candidates(
        self, info: SourceInfo, target: Target, precisions: tuple[Precision, ...]
    ) -> tuple[tuple[Candidate, ...], tuple[Rejection, ...]]:
        if target.kind != "cuda":
            return (), ()  # nobody misses an NVIDIA runtime on another device
        offered = tuple(
            Candidate(recipe.id, self.name, recipe.precision, recipe.passes, session=recipe.session)
            for recipe in RECIPES
            if recipe.precision in precisions and recipe.fits(info)
        )
        why = "pack has no recipe for it with ONNX Runtime's CUDA provider"
        return offered, tuple(Rejection(f"{self.name}-{p}", why) for p in precisions if p in NO_RECIPE)

    def on_request(self, info: SourceInfo) -> Mapping[str, str]:
        return {}

    def job_options(self, candidate: Candidate, threads: int) -> Mapping[str, OptionValue]:
        return candidate.session

    def configure_triton(self, config: Any, options: Mapping[str, OptionValue], threads: int) -> None:
        """Provider options go through the accelerator "cuda", as the backend's README has it. CUDA graphs do not: the
        native backend binds other buffers in each request, and a graph would replay the old ones. The parameter
        GRAPH_PARAMETER asks the Python-based backend of pack for them; the native one does not read it."""
        config.backend = "onnxruntime"
        config.default_model_filename = self.model_filename
        config.parameters["intra_op_thread_count"].string_value = str(threads)
        config.parameters["inter_op_thread_count"].string_value = "1"
        accelerator = config.optimization.execution_accelerators.gpu_execution_accelerator.add(name="cuda")
        for ours, theirs in PROVIDER_OPTIONS.items():
            accelerator.parameters[theirs] = "1" if options.get(ours, False) else "0"
        if options.get("graph", False):
            config.parameters[GRAPH_PARAMETER].string_value = "1"

    def versions(self) -> Mapping[str, str]:
        try:
            return {"onnxruntime-gpu": version("onnxruntime-gpu")}
        except PackageNotFoundError:
            return {}
