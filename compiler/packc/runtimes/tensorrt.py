"""TensorRT on NVIDIA GPUs and Jetsons: its recipes, how engines come about, and how Triton serves them.

An engine is a cache of the lowered graph for one TensorRT and one GPU: made here where the device is here, else on the
device by the adapter, when a job's bundle loads its graph (ADR 17).
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from packc.candidate import Candidate, OptionValue, PassStep, Rejection
from packc.gpu import find_gpu
from packc.ingest.source import SourceInfo
from packc.runtimes.runtime import GRAPH_PARAMETER, LENGTH_MULTIPLE, TEXT_TASKS, Runtime, is_transformer
from packc.runtimes.tensorrt_python import ENGINE, ENGINE_FILES, NEWER_GRAPHS, TensorRtPython, find_tensorrt
from packc.spec.optimize import TensorRtSection
from packc.target import Target, TargetKind
from packc.tensors import InputRange, Precision

BUILD = "tensorrt"
TACTICS = "PACK_TENSORRT_TACTICS"
"""Environment variable: the tactic sources that the builder may use, commas between; the adapter reads it."""
CLEAN = (PassStep("clean_graph"),)
FUSED = (PassStep("fuse_layer_norm"), PassStep("fuse_gelu"))
PLAIN_MASK = (PassStep("plain_mask"),)
LOWERED = (PassStep("lower_opset", {"opset": 17}),)
LOWERABLE = 18
"""The newest opset that `lower_opset` takes, which is that of pack's own exports."""
SUMS = (PassStep("sum_in_fp32"),)
"""With both, what every parser since 8.6 reads. Attention stays in products and a softmax, which TensorRT fuses."""

INT8 = PassStep("quantize_static", {"symmetric": True})
CASTS: Mapping[Precision, tuple[PassStep, ...]] = {
    "tf32": (),
    "fp32": (),
    "bf16": (PassStep("cast_bf16"),),
    "fp16": (PassStep("cast_fp16"),),
    "int8": (INT8,),
}
"""Precisions in the order of a plan -> the passes that put them into the graph."""

FLAGGED: tuple[Precision, ...] = ("fp16",)
"""Of these precisions, those that the builder of weakly typed networks makes by itself, told by a flag. Transformers
get their casts all the same: BERT-base took as long either way, and attention in fp16 is certain then."""

STRONG_ONLY: tuple[Precision, ...] = ("bf16",)
"""Of these precisions, those of strongly typed networks."""

EFFORT = "builds an engine for each candidate, a minute or more for each of its two or three profiles"
"""BERT-base on an H200 in TensorRT 8.6: 61 to 83 s for one profile."""

NO_RECIPE: tuple[Precision, ...] = ("fp8", "int4")
WHY_NOT = "pack has no recipe for it with TensorRT"


class TensorRt(Runtime):
    """TensorRT in pack's own Python or another one."""

    name = "tensorrt"
    is_fitted = True
    library = "tensorrt"
    device: Literal["cpu", "gpu"] = "gpu"
    kinds: tuple[TargetKind, ...] = ("cuda", "jetson")
    requirement = "tensorrt>=8.6"
    effort = EFFORT
    compiler = "packc.runtimes.tensorrt_compile"
    length_multiple = LENGTH_MULTIPLE
    engine = ENGINE
    model_filename = "model.plan"

    def __init__(self, measured: str | None = None) -> None:
        """`measured` is the version that servers get; without, that of the TensorRT which is here."""
        self.measured = measured

    @property
    def engine_files(self) -> Mapping[str, Path]:
        return {**super().engine_files, **{file.name: file for file in ENGINE_FILES}}

    @property
    def python(self) -> Path | None:
        found = find_tensorrt().found
        return found.python if found else None

    @property
    def server_requirement(self) -> str | None:
        found = find_tensorrt().found
        wanted = self.measured or (found.version if found else None)
        return f"tensorrt=={wanted}" if wanted else self.requirement

    def as_measured(self, versions: Mapping[str, str]) -> Runtime:
        return TensorRt(versions.get("tensorrt"))

    def precisions(self, target: Target) -> tuple[Precision, ...]:
        return tuple(CASTS)

    def candidates(
        self, info: SourceInfo, target: Target, precisions: tuple[Precision, ...]
    ) -> tuple[tuple[Candidate, ...], tuple[Rejection, ...]]:
        if target.kind not in ("cuda", "jetson"):
            return (), ()  # nobody misses an NVIDIA runtime on another device
        lookup = find_tensorrt()
        if target.is_here and lookup.found is None:
            return (), (Rejection(self.name, lookup.problem),)
        there = lookup.found if target.is_here else None
        older = _refuse_older(info)
        if older and there and not there.reads_newer_graphs:
            return (), (Rejection(self.name, f"TensorRT {there.version} {older.reason}"),)
        reasons = dict.fromkeys(NO_RECIPE, WHY_NOT)
        if there and not there.is_strongly_typed:
            lack = f"TensorRT {there.version} has no such networks: TensorRT 10 and later have"
            reasons |= dict.fromkeys(STRONG_ONLY, lack)
        refused = [Rejection(f"{self.name}-{p}", reasons[p]) for p in precisions if p in reasons]
        refused += [older] if older and there is None else []
        offered = [make_candidate(p, info, target, there) for p in CASTS if p in precisions and p not in reasons]
        return tuple(offered), tuple(refused)

    def require(self, info: SourceInfo) -> str:
        return f"tensorrt>={NEWER_GRAPHS}" if needs_newer(info) else self.requirement

    def fit_shapes(self, candidate: Candidate, ranges: Sequence[InputRange], settings: TensorRtSection) -> Candidate:
        """With optimization profiles for the `ranges`, and what the spec says of engines."""
        told: dict[str, OptionValue] = {"profiles": write_profiles(ranges, settings.profiles)}
        if settings.level is not None:
            told["level"] = settings.level
        if settings.hardware_compatible != "none":
            told["hardware_compatible"] = settings.hardware_compatible
        if settings.version_compatible:
            told["version_compatible"] = True
        if candidate.build is None:
            return replace(candidate, session={**candidate.session, **told})
        build = PassStep(candidate.build.name, {**candidate.build.options, **told})
        return replace(candidate, build=build)

    def job_options(self, candidate: Candidate, threads: int) -> Mapping[str, OptionValue]:
        """The engine knows its profiles; a server's configuration names them."""
        built = candidate.build.options if candidate.build else {}
        return {**candidate.session, **({"profiles": built["profiles"]} if "profiles" in built else {})}

    def configure_triton(self, config: Any, options: Mapping[str, OptionValue], threads: int) -> None:
        """For the native backend: CUDA graphs of the shapes that have a profile for themselves; requests of others run
        kernel by kernel. "requirement" and GRAPH_PARAMETER are for pack's Python-based backend, which also records a
        graph of a shape that comes several times in a row; the native one reads neither."""
        config.backend = "tensorrt"
        config.default_model_filename = self.model_filename
        version = options.get("tensorrt")
        requirement = f"tensorrt=={version}" if version else self.server_requirement
        config.parameters["requirement"].string_value = requirement
        profiles = _list_texts(options.get("profiles", ()))
        if len(profiles) > 1:
            for group in config.instance_group:
                group.profile.extend(str(number) for number in range(len(profiles)))
        if options.get("graph", False):
            config.parameters[GRAPH_PARAMETER].string_value = "1"
            for profile in profiles:
                add_graph_spec(config, profile)

    def compiler_versions(self) -> Mapping[str, str]:
        """An engine is for one GPU, its driver included in what is timed while it is built."""
        gpu, tactics = find_gpu(), os.environ.get(TACTICS)
        if gpu is None:
            return {}
        facts = {"gpu": gpu.name, "compute capability": gpu.compute_capability, "driver": gpu.driver or ""}
        return facts | ({"tactics": tactics} if tactics else {})

    def versions(self) -> Mapping[str, str]:
        found = find_tensorrt().found
        return {"tensorrt": found.version} if found else {}


def add_graph_spec(config: Any, profile: str) -> None:
    """Has Triton record a CUDA graph of the profile's shape, where it takes one alone and the server's batches hold it.

    Each profile has an execution context, which keeps sizes where graphs read them: a graph in one that runs other
    shapes too answers wrongly (ADR 17).
    """
    shapes = {}
    for word in profile.split():
        name, _, steps = word.rpartition("=")
        least, usual, most = ([int(size) for size in step.split("x")] for step in steps.split("/"))
        if not least == usual == most:
            return
        shapes[name] = usual
    is_batched = config.max_batch_size > 0
    batch = max(shape[0] for shape in shapes.values()) if is_batched else 0
    if batch > config.max_batch_size:
        return
    config.optimization.cuda.graphs = True
    spec = config.optimization.cuda.graph_spec.add(batch_size=batch)
    for name, shape in shapes.items():
        spec.input[name].dim.extend(shape[1:] if is_batched else shape)


def _list_texts(value: OptionValue) -> tuple[str, ...]:
    return value if isinstance(value, tuple) else ()


def prepare_graph(info: SourceInfo, there: TensorRtPython | None, casts: tuple[PassStep, ...]) -> tuple[PassStep, ...]:
    """The passes of a graph whose precision is made by `casts`: it ends as what the parser reads without mistakes."""
    reads_newer = needs_newer(info) or (there is not None and there.reads_newer_graphs)
    fused = FUSED if reads_newer and is_transformer(info) else ()
    mask = PLAIN_MASK if info.task in TEXT_TASKS else ()
    if reads_newer:
        return (*CLEAN, *fused, *mask, *casts)
    return (*CLEAN, *fused, *mask, *LOWERED, *casts, *SUMS)


def make_candidate(precision: Precision, info: SourceInfo, target: Target, there: TensorRtPython | None) -> Candidate:
    """One that is compiled here, or by the adapter on the device, whose TensorRT is not known: `there` is None then."""
    is_flagged = there is not None and not there.is_strongly_typed and precision in FLAGGED and not is_transformer(info)
    passes = prepare_graph(info, there, () if is_flagged else CASTS[precision])
    told: Mapping[str, OptionValue] = {"precision": precision}
    name, graph = f"{TensorRt.name}-{precision}", {"graph": True}
    if target.is_here:
        return Candidate(name, TensorRt.name, precision, passes, PassStep(BUILD, told), session=graph)
    return Candidate(name, TensorRt.name, precision, passes, session={**graph, **told})


def needs_newer(info: SourceInfo) -> bool:
    """Whether the graph is of an opset that cannot be lowered to what parsers before TensorRT 10 read."""
    return info.opset is not None and info.opset > LOWERABLE


def _refuse_older(info: SourceInfo) -> Rejection | None:
    if not needs_newer(info):
        return None
    why = (
        f"cannot read a graph of opset {info.opset}, and pack lowers {LOWERABLE} at most: export it with "
        f"opset_version={LOWERABLE}, or use TensorRT {NEWER_GRAPHS} or later"
    )
    return Rejection(f"tensorrt before {NEWER_GRAPHS}", why)


def write_profiles(ranges: Sequence[InputRange], how: Literal["one", "per_case"]) -> tuple[str, ...]:
    """Optimization profiles as the adapter reads them: "ids=1x1/1x32/8x128 mask=1x1/1x32/8x128", least, usual, most.

    Of "one", it takes all shapes and is tuned for the typical case. Of "per_case", each case of the workload has one
    that takes all and is tuned for it; where requests differ in the batch alone, so that they do hit the cases, each
    case has its shape for itself, and all others share one that is tuned for the largest. A builder wants a profile for
    an open axis of one size too, and leaves one for a graph without open axes alone.
    """
    cases = range(len(ranges[0].cases))
    if how == "one":
        return (_write_profile(ranges, 0),)
    if any(r.least[1:] != r.most[1:] for r in ranges):
        return tuple(dict.fromkeys(_write_profile(ranges, case) for case in cases))
    # first those of one shape: where two are as near, the first is taken, here and in Triton's backend
    fixed = [tuple(InputRange(r.name, r.cases[case], r.cases, r.cases[case]) for r in ranges) for case in cases]
    alone = [_write_profile(of_case, case) for case, of_case in zip(cases, fixed, strict=True)]
    return tuple(dict.fromkeys([*alone, _write_profile(ranges, cases[-1])]))


def _write_profile(ranges: Sequence[InputRange], case: int) -> str:
    """From the least to the most of each range, tuned for that case; scalars have none."""
    steps = ((r.name, (r.least, r.cases[case], r.most)) for r in ranges if r.least)
    return " ".join(f"{name}={'/'.join('x'.join(map(str, shape)) for shape in shapes)}" for name, shapes in steps)
