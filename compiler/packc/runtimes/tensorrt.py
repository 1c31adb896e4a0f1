"""TensorRT on NVIDIA GPUs and Jetsons: its recipes, how engines come about, and how Triton serves them.

An engine is a cache of the lowered graph for one TensorRT and one GPU: made here where the device is here, else on the
device by the adapter, when a job's bundle loads its graph (ADR 17).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from packc.candidate import Candidate, OptionValue, PassStep, Rejection
from packc.gpu import find_gpu
from packc.ingest.source import SourceInfo
from packc.runtimes.runtime import Runtime, is_transformer
from packc.runtimes.tensorrt_python import ENGINE, VARIABLE, TensorRtPython, find_tensorrt
from packc.spec.model import TensorRtSection
from packc.target import Target
from packc.tensors import InputRange, Precision

Shape = tuple[int, ...]

BUILD = "tensorrt"
CLEAN = (PassStep("clean_graph"),)
FUSED = (*CLEAN, PassStep("fuse_layer_norm"), PassStep("fuse_gelu"))
LOWERED = (*CLEAN, PassStep("lower_opset", {"opset": 17}))
"""What every parser since 8.6 reads. Attention stays in products and a softmax, which TensorRT fuses itself."""

INT8 = PassStep("quantize_static", {"symmetric": True})
CASTS: Mapping[Precision, tuple[PassStep, ...]] = {
    "tf32": (),
    "fp32": (),
    "bf16": (PassStep("cast_bf16"),),
    "fp16": (PassStep("cast_fp16"),),
    "int8": (INT8,),
}
"""Precisions in the order of a plan -> the passes that put them into the graph."""

STRONG_ONLY: tuple[Precision, ...] = ("bf16",)
"""Precisions of strongly typed networks."""

NO_RECIPE: tuple[Precision, ...] = ("fp8", "int4")
INSTALL = f"install tensorrt, or name its Python with {VARIABLE}"
WHY_NOT = "pack has no recipe for it with TensorRT"
LENGTH_MULTIPLE = 16
"""A CUDA graph is of one shape, so lengths have to repeat."""


class TensorRt(Runtime):
    """TensorRT in pack's own Python or another one."""

    name = "tensorrt"
    library = "tensorrt"
    device: Literal["cpu", "gpu"] = "gpu"
    requirement = "tensorrt>=8.6"
    compiler = "packc.runtimes.tensorrt_compile"
    length_multiple = LENGTH_MULTIPLE
    engine = ENGINE
    model_filename = "model.plan"

    @property
    def python(self) -> Path | None:
        found = find_tensorrt().found
        return found.python if found else None

    @property
    def server_requirement(self) -> str | None:
        found = find_tensorrt().found
        return f"tensorrt=={found.version}" if found else self.requirement

    def candidates(
        self, info: SourceInfo, target: Target, precisions: tuple[Precision, ...]
    ) -> tuple[tuple[Candidate, ...], tuple[Rejection, ...]]:
        if target.kind not in ("cuda", "jetson"):
            return (), ()  # nobody misses an NVIDIA runtime on another device
        lookup = find_tensorrt()
        if target.is_here and lookup.found is None:
            return (), (
                Rejection(self.name, f"{lookup.problem}: install tensorrt, or name its Python with {VARIABLE}"),
            )
        there = lookup.found if target.is_here else None
        refused = [Rejection(f"{self.name}-{p}", WHY_NOT) for p in precisions if p in NO_RECIPE]
        offered = []
        for precision in CASTS:
            if precision not in precisions:
                continue
            if there and precision in STRONG_ONLY and not there.is_strongly_typed:
                why = f"TensorRT {there.version} has no {precision} networks: TensorRT 10 and later have"
                refused.append(Rejection(f"{self.name}-{precision}", why))
                continue
            offered.append(make_candidate(precision, info, target, there))
        return tuple(offered), tuple(refused)

    def fit_shapes(self, candidate: Candidate, ranges: Sequence[InputRange], settings: TensorRtSection) -> Candidate:
        """With optimization profiles for the `ranges`, and what the spec says of engines."""
        told: dict[str, OptionValue] = {"profiles": write_profiles(ranges, settings.profiles)}
        if settings.level is not None:
            told["level"] = settings.level
        if settings.hardware_compatible != "none":
            told["hardware_compatible"] = settings.hardware_compatible
        told |= {name: True for name in ("version_compatible", "strip") if getattr(settings, name)}
        if candidate.build is None:
            return replace(candidate, session={**candidate.session, **told})
        build = PassStep(candidate.build.name, {**candidate.build.options, **told})
        return replace(candidate, build=build)

    def configure_triton(self, config: Any, options: Mapping[str, OptionValue], threads: int) -> None:
        """The native backend has all of it in the engine; it replays CUDA graphs of the batches that it forms."""
        config.backend = "tensorrt"
        config.default_model_filename = self.model_filename

    def compiler_versions(self) -> Mapping[str, str]:
        """An engine is for one GPU, its driver included in what is timed while it is built."""
        gpu = find_gpu()
        if gpu is None:
            return {}
        return {"gpu": gpu.name, "compute capability": gpu.compute_capability, "driver": gpu.driver or ""}

    def versions(self) -> Mapping[str, str]:
        found = find_tensorrt().found
        return {"tensorrt": found.version} if found else {}


def make_candidate(precision: Precision, info: SourceInfo, target: Target, there: TensorRtPython | None) -> Candidate:
    """One that is compiled here, or by the adapter on the device, whose TensorRT is not known: `there` is None then."""
    lowered = LOWERED if there is None or not there.is_strongly_typed else FUSED if is_transformer(info) else CLEAN
    passes = (*lowered, *CASTS[precision])
    told: Mapping[str, OptionValue] = {"precision": precision}
    name, graph = f"{TensorRt.name}-{precision}", {"graph": True}
    if target.is_here:
        return Candidate(name, TensorRt.name, precision, passes, PassStep(BUILD, told), session=graph)
    return Candidate(name, TensorRt.name, precision, passes, session={**graph, **told})


def write_profiles(ranges: Sequence[InputRange], how: Literal["one", "per_case"]) -> tuple[str, ...]:
    """Optimization profiles as the adapter reads them: "ids=1x1/1x32/8x128 mask=1x1/1x32/8x128", least, usual, most.

    One is tuned for the usual shape and takes all. "per_case" puts one before it that ends at the usual shape, and
    tunes the other for the largest. Where no axis is open there is nothing to choose, and no profile.
    """
    if all(r.least == r.most for r in ranges):
        return ()
    whole = _write_profile((r.name, r.least, r.usual, r.most) for r in ranges)
    if how == "one":
        return (whole,)
    usual = _write_profile((r.name, r.least, r.usual, r.usual) for r in ranges)
    return usual, _write_profile((r.name, r.least, r.most, r.most) for r in ranges)


def _write_profile(inputs: Iterable[tuple[str, Shape, Shape, Shape]]) -> str:
    return " ".join(f"{name}={'/'.join('x'.join(map(str, s)) for s in shapes)}" for name, *shapes in inputs)
