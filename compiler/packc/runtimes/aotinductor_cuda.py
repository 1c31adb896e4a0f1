"""PyTorch on NVIDIA GPUs: programs that AOTInductor compiles from the model's source, served by a Python process."""

from __future__ import annotations

import ast
import importlib.util
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from packc.candidate import Candidate, OptionValue, PassStep, Rejection
from packc.gpu import find_gpu
from packc.ingest.source import SourceInfo
from packc.runtimes.aotinductor import (
    COMPILE,
    NO_COMPILER,
    NO_SOURCE,
    configure_python_model,
    describe_compiler,
    find_compiler,
)
from packc.runtimes.cuda_toolkit import find_cuda_home
from packc.runtimes.runtime import GRAPH_OPTION, LENGTH_MULTIPLE, Runtime, is_transformer
from packc.spec.optimize import TensorRtSection
from packc.target import Target, TargetKind
from packc.tensors import InputRange, Precision

FACTS = Path(__file__).with_name("aotinductor_cuda_facts.py")
"""What the engine imports."""


@dataclass(frozen=True, slots=True)
class TorchBuild:
    """One of the builds of a version of torch: each has kernels for one CUDA, or none."""

    version: str
    """Without the build: "2.11.0"."""
    cuda: str | None
    """ "13.0"; None for builds without CUDA."""

    @property
    def label(self) -> str:
        """What PyTorch's indices call it: "cu130", "cpu"."""
        return "cu" + self.cuda.replace(".", "") if self.cuda else "cpu"


@dataclass(frozen=True, slots=True)
class Recipe:
    """A candidate in waiting: what the compiler is told, and the models that it makes sense for."""

    id: str
    precision: Precision
    fits: Callable[[SourceInfo], bool]
    options: Mapping[str, OptionValue]
    """Of the compiler, beside the precision."""


def _is_any(info: SourceInfo) -> bool:
    return True


def _is_other(info: SourceInfo) -> bool:
    """A convolutional network, or tensors of which nothing is known."""
    return not is_transformer(info)


NHWC: Mapping[str, OptionValue] = {"nhwc": True}
RELU: Mapping[str, OptionValue] = {"nhwc": True, "relu": True}
GELU: Mapping[str, OptionValue] = {"gelu": True}

RECIPES = (
    Recipe("torch-cuda-fp32", "fp32", _is_any, {}),
    Recipe("torch-cuda-tf32", "tf32", is_transformer, {}),
    Recipe("torch-cuda-tf32-nhwc", "tf32", _is_other, NHWC),
    Recipe("torch-cuda-bf16-gelu", "bf16", is_transformer, GELU),
    Recipe("torch-cuda-bf16-nhwc", "bf16", _is_other, NHWC),
    Recipe("torch-cuda-fp16-gelu", "fp16", is_transformer, GELU),
    Recipe("torch-cuda-fp16-nhwc", "fp16", _is_other, NHWC),
    Recipe("torch-cuda-fp16-nhwc-relu", "fp16", _is_other, RELU),
)
"""In the order of a plan. Tensor cores want the channels last: in fp32, which does not use them, they stay first. GELU
in a product's epilogue is less exact than fp32 and tf32 are, and as exact as 16 bits.
cuDNN may lack convolutions with an epilogue for some shapes, so the plain recipe stays.

On one H200, ResNet-50 in fp16 took 0.435 ms for one image and 1.371 for 32, and 0.401 and 1.207 with ReLU merged
(benchmarks/results). By hand, torch.compile with a CUDA graph around it took 0.590 and 1.84 ms for BERT-base, one text
and 32 of 128 tokens; with weights as constants 0.495 and 1.80, and with GELU merged too 0.474 and 1.69. max-autotune
took more than 200 s to compile, and is left out."""

NO_GRAPHS = "AOTInductor programs are made of the model as it is, not of a quantized graph"
NOT_HERE: Mapping[Precision, str] = {
    "fp8": "PyTorch's products in fp8 were no faster than in fp16 on an H200 (BERT-base, 32 texts of 128 tokens)",
    "int8": NO_GRAPHS,
    "int4": NO_GRAPHS,
}
"""fp8: 1.69 ms with a scale a tensor and 2.23 with one a row, against 1.67."""

INSTALL = "torch is not installed: pip install torch brings a build with CUDA"
NO_HEADERS = (
    "AOTInductor needs CUDA's headers: install the CUDA toolkit and name it with CUDA_HOME, or, for CUDA 13, "
    "pip install nvidia-cuda-cccl nvidia-cuda-crt, of torch's CUDA version"
)
NO_CUDA = "the torch that is installed was built without CUDA: pip install --force-reinstall torch, from PyPI, has it"


class AotInductorCuda(Runtime):
    """AOTInductor for NVIDIA GPUs: a package (`.pt2`) made for one version and build of torch and one kind of GPU."""

    name = "torch-cuda"
    is_fitted = True
    library = "torch"
    device: Literal["cpu", "gpu"] = "gpu"
    kinds: tuple[TargetKind, ...] = ("cuda",)
    compiler = "packc.runtimes.aotinductor_cuda_compile"
    reads: Literal["graph", "source"] = "source"
    compiles_here_only = True
    length_multiple = LENGTH_MULTIPLE
    engine = Path(__file__).with_name("aotinductor_cuda_engine.py")
    model_filename = "model.pt2"

    @property
    def engine_files(self) -> Mapping[str, Path]:
        return {**super().engine_files, FACTS.name: FACTS}

    @property
    def requirement(self) -> str:
        """The very version and build that compiles here: a package loads in no other. pip finds the label in the index
        of its name alone; PyPI has one build of each version, without a label."""
        build = find_torch_build()
        return f"torch=={build.version}+{build.label}" if build else "torch"

    @property
    def server_requirement(self) -> str:
        return self.requirement

    def precisions(self, target: Target) -> tuple[Precision, ...]:
        return tuple(dict.fromkeys(recipe.precision for recipe in RECIPES))

    def candidates(
        self, info: SourceInfo, target: Target, precisions: tuple[Precision, ...]
    ) -> tuple[tuple[Candidate, ...], tuple[Rejection, ...]]:
        if target.kind != "cuda":
            return (), ()  # nobody misses an NVIDIA runtime on another device
        if reason := find_obstacle(info, target):
            return (), (Rejection(self.name, reason),)
        offered = tuple(
            Candidate(
                recipe.id,
                self.name,
                recipe.precision,
                (),
                PassStep(COMPILE, {"precision": recipe.precision, **recipe.options}),
                session={GRAPH_OPTION: True, **({"tf32": True} if recipe.precision == "tf32" else {})},
            )
            for recipe in RECIPES
            if recipe.precision in precisions and recipe.fits(info)
        )
        return offered, tuple(Rejection(f"{self.name}-{p}", NOT_HERE[p]) for p in precisions if p in NOT_HERE)

    def fit_shapes(self, candidate: Candidate, ranges: Sequence[InputRange], settings: TensorRtSection) -> Candidate:
        """Told the typical shape, which kernels are chosen for, and whether there is no other.

        The open axes are alike in all inputs, so the sizes of the input with the most axes say it all.
        """
        widest = max(ranges, key=lambda found: len(found.least), default=None)
        if widest is None or candidate.build is None:
            return candidate
        told: dict[str, OptionValue] = {"usual": "x".join(map(str, widest.cases[0]))}
        if all(found.least == found.most for found in ranges):
            told["fixed"] = True
        return replace(candidate, build=PassStep(COMPILE, {**candidate.build.options, **told}))

    def configure_triton(self, config: Any, options: Mapping[str, OptionValue], threads: int) -> None:
        """A Python model around the engine, as for CPUs (AotInductor); Triton's own backend records no CUDA graphs."""
        configure_python_model(config, self.model_filename, self.requirement, options, threads)

    def compiler_versions(self) -> Mapping[str, str]:
        """The GPU and its driver too: kernels are made for the one, and the other is a part of the compiler."""
        command, gpu = find_compiler(), find_gpu()
        made_by = {"c++": describe_compiler(command)} if command else {}
        made_for = {"gpu": f"{gpu.name} {gpu.compute_capability}", "driver": gpu.driver or ""} if gpu else {}
        return {**made_by, **made_for}

    def versions(self) -> Mapping[str, str]:
        build = find_torch_build()
        return {"torch": build.version, "cuda": build.cuda} if build and build.cuda else {}


def find_obstacle(info: SourceInfo, target: Target) -> str | None:
    """Why nothing can be compiled of this model for this NVIDIA GPU here, or None."""
    if info.origin == "onnx":
        return NO_SOURCE
    if not target.is_here:
        return f"AOTInductor compiles for the GPU that it runs on: build on {target.name} itself"
    build = find_torch_build()
    if build is None:
        return INSTALL
    if build.cuda is None:
        return NO_CUDA
    if find_compiler() is None:
        return NO_COMPILER
    return None if find_cuda_home() else NO_HEADERS


def find_torch_build() -> TorchBuild | None:
    """The torch that is installed, told from its files without importing it; None where there is none."""
    spec = importlib.util.find_spec("torch")
    if spec is None or spec.origin is None:
        return None
    file = Path(spec.origin).with_name("version.py")
    return read_torch_build(file.read_text("utf-8")) if file.is_file() else None


def read_torch_build(text: str) -> TorchBuild | None:
    """The build that torch's version.py tells of; None where it has another form."""
    found = {}
    for node in ast.parse(text).body:
        match node:
            case ast.Assign([ast.Name(name)], ast.Constant(value)) | ast.AnnAssign(
                ast.Name(name), _, ast.Constant(value)
            ):
                found[name] = value
    version, cuda = found.get("__version__"), found.get("cuda")
    if not isinstance(version, str):
        return None
    return TorchBuild(version.partition("+")[0], cuda if isinstance(cuda, str) else None)
