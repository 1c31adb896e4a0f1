"""PyTorch on CPUs: programs that AOTInductor compiles from the model's own source, served by a Python process."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

from packc.candidate import Candidate, OptionValue, PassStep, Rejection
from packc.ingest.source import SourceInfo
from packc.runtimes.runtime import Runtime, refuse_kind
from packc.target import Target
from packc.tensors import Precision

COMPILE = "torch"


@dataclass(frozen=True, slots=True)
class Recipe:
    """A candidate in waiting."""

    id: str
    precision: Precision


RECIPES = (Recipe("torch-fp32", "fp32"), Recipe("torch-bf16", "bf16"))
"""In the order of a plan."""

ASK = '[optimize] runtimes = ["torch"] tries it, and takes minutes to compile'
GAINS: Mapping[Precision, str] = {
    "fp32": f"is seldom faster than OpenVINO in fp32, by 7 % at most: {ASK}",
    "bf16": f"is faster than OpenVINO in bf16 for large batches of transformers alone, by 11 % at most: {ASK}",
}
"""torch.compile on two cores with AMX (benchmarks/results/engines-*.amx.md), against the fastest OpenVINO: fp32 takes
transformers 0.94 to 1.5 x the time, least for one image through ViT-B; bf16 takes them 0.90 to 1.9 x, least for eight
images or 16 long texts at once, and ResNet-50 1.3 to 2.6 x."""

NOT_HERE: Mapping[Precision, str] = {
    "fp16": "PyTorch computes fp16 on CPUs without packed weights",
    "tf32": "PyTorch has no tf32 on CPUs",
    "fp8": "PyTorch has no fp8 kernels for CPUs",
    "int8": "AOTInductor programs are made of the model as it is, not of a quantized graph",
    "int4": "AOTInductor programs are made of the model as it is, not of a quantized graph",
}
NO_BF16 = "PyTorch computes in bf16 with packed weights on x86 CPUs with AVX512-BF16 or AMX-BF16 alone"
INSTALL = "torch is not installed: pip install 'packc[cpu]' brings it"
NO_COMPILER = "AOTInductor needs a C++ compiler: install g++ or clang++ (Debian: apt install g++), or name one with CXX"
NO_SOURCE = "AOTInductor compiles PyTorch modules, and an .onnx file has none: give the checkpoint it was exported from"

COMPILERS = ("g++", "clang++")


class AotInductor(Runtime):
    """AOTInductor for CPUs: a package (`.pt2`) with a shared library made for one version of torch and one CPU."""

    name = "torch"
    library = "torch"
    device: Literal["cpu", "gpu"] = "cpu"
    compiler = "packc.runtimes.aotinductor_compile"
    reads: Literal["graph", "source"] = "source"
    compiles_here_only = True
    engine = Path(__file__).with_name("aotinductor_engine.py")
    model_filename = "model.pt2"

    @property
    def requirement(self) -> str:
        """The very version that compiles here, whichever of its builds: a package loads in no other."""
        return f"torch=={find_torch()}"

    @property
    def server_requirement(self) -> str | None:
        return self.requirement

    def precisions(self, target: Target) -> tuple[Precision, ...]:
        found = dict.fromkeys(recipe.precision for recipe in RECIPES)
        return tuple(p for p in found if p != "bf16" or target.multiplies_bf16)

    def candidates(
        self, info: SourceInfo, target: Target, precisions: tuple[Precision, ...]
    ) -> tuple[tuple[Candidate, ...], tuple[Rejection, ...]]:
        if reason := find_obstacle(info, target):
            return (), (Rejection(self.name, reason),)
        offered = tuple(
            Candidate(recipe.id, self.name, recipe.precision, (), make_step(recipe))
            for recipe in RECIPES
            if recipe.precision in precisions and (recipe.precision != "bf16" or target.multiplies_bf16)
        )
        reasons = NOT_HERE if target.multiplies_bf16 else {"bf16": NO_BF16, **NOT_HERE}
        return offered, tuple(Rejection(f"{self.name}-{p}", reasons[p]) for p in precisions if p in reasons)

    def on_request(self, info: SourceInfo, target: Target) -> Mapping[str, str]:
        """All of them: see GAINS."""
        return {recipe.id: GAINS[recipe.precision] for recipe in RECIPES}

    def configure_triton(self, config: Any, options: Mapping[str, OptionValue], threads: int) -> None:
        """A Python model around the engine, since Triton's own pytorch backend takes such packages from 26.03 on
        without batches, and only under tensor names of its making (its README)."""
        configure_python_model(config, self.model_filename, self.requirement, options, threads)

    def compiler_versions(self) -> Mapping[str, str]:
        command = find_compiler()
        return {"c++": describe_compiler(command)} if command else {}

    def versions(self) -> Mapping[str, str]:
        installed = find_torch()
        return {"torch": installed} if installed else {}


def find_obstacle(info: SourceInfo, target: Target) -> str | None:
    """Why nothing can be compiled of this model for this target here, or None."""
    if target.kind != "cpu":
        return refuse_kind("torch", target).reason
    if info.origin == "onnx":
        return NO_SOURCE
    if not target.is_here:
        return f"AOTInductor compiles for the CPU that it runs on: build on {target.name} itself"
    if find_torch() is None:
        return INSTALL
    if find_compiler():
        return None
    named = name_compiler()
    return f"CXX names {named[0]}, which is not on PATH" if named else NO_COMPILER


def find_torch() -> str | None:
    """The version of torch without its build ("2.13.0", not "2.13.0+cpu"); None where it is not installed."""
    try:
        return version("torch").partition("+")[0]
    except PackageNotFoundError:
        return None


def find_compiler() -> tuple[str, ...] | None:
    """The command of the C++ compiler that CXX names ("ccache g++"), else of the first of COMPILERS on PATH; None where
    there is none."""
    for name, *options in [named] if (named := name_compiler()) else [(name,) for name in COMPILERS]:
        if found := shutil.which(name):
            return (found, *options)
    return None


def name_compiler() -> tuple[str, ...]:
    """The words of CXX, as a shell would split them; empty where it is not set."""
    return tuple(shlex.split(os.environ.get("CXX", "")))


@cache
def describe_compiler(command: tuple[str, ...]) -> str:
    """The first line of what it says of its version; empty where it does not start."""
    try:
        told = subprocess.run([*command, "--version"], capture_output=True, text=True, timeout=30, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return ""
    return told.partition("\n")[0].strip()


def make_step(recipe: Recipe) -> PassStep:
    """The compiler's step, which is for the CPU that it runs on."""
    return PassStep(COMPILE, {"precision": recipe.precision})


def configure_python_model(
    config: Any, model: str, requirement: str, options: Mapping[str, OptionValue], threads: int
) -> None:
    """Of a ModelConfig: the Python model around an engine, which reads the file `model` with these `options`."""
    config.backend = "python"
    for name, value in {
        "model": model,
        "threads": str(threads),
        "engine_options": json.dumps(dict(options)),
        "requirement": requirement,
    }.items():
        config.parameters[name].string_value = value
