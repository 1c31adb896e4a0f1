"""OpenVINO on CPUs: its recipes, and how Triton's openvino backend serves what they make."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

from packc.candidate import Candidate, OptionValue, PassStep, Rejection
from packc.ingest.source import SourceInfo
from packc.runtimes.runtime import Runtime, is_transformer, refuse_kind
from packc.target import Target
from packc.tensors import Precision

AS_EXPORTED: tuple[PassStep, ...] = ()
"""No pass of ours: OpenVINO fuses the plain operators itself. Even the cleaned graph was slower: 5.37 against 4.38 ms
for all-MiniLM-L6-v2 in bf16 (1 x 128 tokens, two cores with AMX), 28.2 against 23.0 for BERT-base."""
CONVERT = "openvino"


@dataclass(frozen=True, slots=True)
class Recipe:
    """A candidate in waiting: what the compiler is told, and the models that it makes sense for."""

    id: str
    precision: Precision
    fits: Callable[[SourceInfo], bool]
    options: Mapping[str, OptionValue]


def _is_any(info: SourceInfo) -> bool:
    return True


def _has_geometry(info: SourceInfo) -> bool:
    return info.geometry is not None


def _is_other(info: SourceInfo) -> bool:
    """A convolutional network, or tensors of which nothing is known."""
    return not is_transformer(info)


RECIPES = (
    Recipe("openvino-fp32", "fp32", _is_any, {}),
    Recipe("openvino-bf16", "bf16", _is_any, {}),
    Recipe("openvino-int8-weights", "int8", is_transformer, {"quantize": "weights"}),
    Recipe("openvino-int8", "int8", is_transformer, {"quantize": "full", "transformer": True}),
    Recipe(
        "openvino-int8-ffn", "int8", _has_geometry, {"quantize": "full", "transformer": True, "exclude": "ffn_down"}
    ),
    Recipe("openvino-int8", "int8", _is_other, {"quantize": "full"}),
)
"""In the order of a plan. Left out: NNCF without its transformer model type, which leaves all-MiniLM-L6-v2 with a rank
correlation of .26 (20,000 sentence pairs, OpenVINO 2026.4)."""

NOT_HERE: Mapping[Precision, str] = {
    "fp16": "OpenVINO's CPU plugin computes fp16 in fp32 on CPUs without AVX512-FP16 or AMX-FP16",
    "tf32": "OpenVINO's CPU plugin has no tf32",
    "fp8": "OpenVINO's CPU plugin has no fp8 kernels",
    "int4": "int4 weights are offered in ONNX Runtime alone, for size: on CPUs they are no faster than int8",
}
NO_GAIN = (
    "gains little over fp32 for transformers on CPUs without VNNI, and takes half a minute to make: "
    '[optimize] runtimes = ["openvino"] tries it'
)
"""all-MiniLM-L6-v2 on two shared cores with AVX2, in openvino-fp32's time: 1.0 to 1.1 x at 1 x 20, 1 x 32, 1 x 128 and
16 x 128 tokens, without the second projections 0.9 to 1.0 (OpenVINO 2026.4); ONNX Runtime's int8 took 0.3 to 0.6 x."""
NO_BF16 = "OpenVINO's CPU plugin computes in bf16 on x86 CPUs with AVX512-BF16 or AMX-BF16 alone"
INSTALL = "openvino and nncf are not installed: pip install 'packc[cpu]' brings them"


class OpenVino(Runtime):
    """OpenVINO's CPU plugin."""

    name = "openvino"
    library = "openvino"
    device: Literal["cpu", "gpu"] = "cpu"
    requirement = "openvino>=2026.1"
    compiler = "packc.runtimes.openvino_compile"
    length_multiple = 16
    engine = Path(__file__).with_name("openvino_engine.py")
    model_filename = "model.xml"

    def precisions(self, target: Target) -> tuple[Precision, ...]:
        found = dict.fromkeys(recipe.precision for recipe in RECIPES)
        return tuple(p for p in found if p != "bf16" or target.multiplies_bf16)

    def candidates(
        self, info: SourceInfo, target: Target, precisions: tuple[Precision, ...]
    ) -> tuple[tuple[Candidate, ...], tuple[Rejection, ...]]:
        if target.kind != "cpu":
            return (), (refuse_kind(self.name, target),)
        if not self.versions():
            return (), (Rejection(self.name, INSTALL),)
        offered = tuple(
            Candidate(recipe.id, self.name, recipe.precision, AS_EXPORTED, make_step(recipe, target))
            for recipe in RECIPES
            if recipe.precision in precisions and recipe.fits(info)
            if recipe.precision != "bf16" or target.multiplies_bf16
        )
        reasons = NOT_HERE if target.multiplies_bf16 else {"bf16": NO_BF16, **NOT_HERE}
        return offered, tuple(Rejection(f"{self.name}-{p}", reasons[p]) for p in precisions if p in reasons)

    def on_request(self, info: SourceInfo, target: Target) -> Mapping[str, str]:
        if not (target.saturates_int8 and is_transformer(info)):
            return {}
        return {recipe.id: NO_GAIN for recipe in RECIPES if recipe.options.get("quantize") == "full"}

    def job_options(self, candidate: Candidate, threads: int) -> Mapping[str, OptionValue]:
        assert candidate.build is not None, "every recipe has a build step"
        return {"precision": candidate.build.options["precision"]}

    def configure_triton(self, config: Any, options: Mapping[str, OptionValue], threads: int) -> None:
        """The native backend reads HINT_BF16 and knows no way to ask for fp32 where the CPU has bf16 (its README and
        source); the Python-based one of pack reads INFERENCE_PRECISION_HINT as well. With batching the native one
        refuses every batch but the largest unless it may fill them up (ENABLE_BATCH_PADDING)."""
        config.backend = "openvino"
        config.default_model_filename = self.model_filename
        is_bf16 = options["precision"] == "bf16"
        for name, value in {
            "PERFORMANCE_HINT": "LATENCY",
            "NUM_STREAMS": "1",
            "INFERENCE_NUM_THREADS": str(threads),
            "INFERENCE_PRECISION_HINT": "bf16" if is_bf16 else "f32",
            **({"HINT_BF16": "YES"} if is_bf16 else {}),
            **({"ENABLE_BATCH_PADDING": "YES"} if config.max_batch_size else {}),
        }.items():
            config.parameters[name].string_value = value

    def calibrates(self, step: PassStep) -> bool:
        return step.options.get("quantize") == "full"

    def versions(self) -> Mapping[str, str]:
        try:
            return {package: version(package) for package in ("openvino", "nncf")}
        except PackageNotFoundError:
            return {}


def make_step(recipe: Recipe, target: Target) -> PassStep:
    """The compiler's step: what is not quantized is bf16 where the target has it and fp32 was not asked for."""
    precision = "bf16" if target.multiplies_bf16 and recipe.precision != "fp32" else "fp32"
    fix = {"overflow_fix": True} if target.saturates_int8 and recipe.options.get("quantize") == "full" else {}
    return PassStep(CONVERT, {"precision": precision, **recipe.options, **fix})
