"""What a runtime is: which candidates it can run, how they run in a job, and how Triton serves them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol

from packc.candidate import Candidate, OptionValue, PassStep, Rejection
from packc.ingest.source import SourceInfo, SourceModel, TextPreprocessing
from packc.spec.model import Task
from packc.spec.optimize import TensorRtSection
from packc.target import Target, TargetKind
from packc.tensors import InputRange, Precision

TEXT_TASKS: tuple[Task, ...] = (
    "sentence-similarity",
    "feature-extraction",
    "text-classification",
    "text-ranking",
    "token-classification",
    "question-answering",
    "fill-mask",
)
"""All whose models read texts, whatever they answer."""


GRAPH_OPTION = "graph"
"""Of engines on a GPU that can record CUDA graphs: whether they do."""
GRAPH_PARAMETER = "pack_cuda_graph"
"""What says so in a configuration, for the Python-based backends of pack."""
LENGTH_MULTIPLE = 16
"""A CUDA graph is of one shape, so lengths have to repeat. Not measured; tiles of tensor cores are 8 or 16 long."""


def is_transformer(info: SourceInfo) -> bool:
    """Whether a model is one, as far as its source tells: its layers are known, or it reads texts."""
    return info.geometry is not None or info.task in TEXT_TASKS


def pads_left(info: SourceInfo) -> bool:
    """Whether texts of one batch are filled up at their beginning, so that a length does not tell what to look at."""
    return isinstance(info.preprocessing, TextPreprocessing) and info.preprocessing.pads_left


def refuse_kind(runtime: str, target: Target) -> Rejection:
    """Why a runtime that compiles for CPUs has no candidate for a device of another kind."""
    return Rejection(runtime, f"compiles for CPUs only, and {target.name} is a {target.kind} device")


class Runtime(Protocol):
    """One inference library. Its adapter for jobs is a file of its own that imports nothing of packc.

    A runtime inherits from this class: what has a value here is what most of them say.
    """

    @property
    def name(self) -> str:
        """As candidates have it: "onnxruntime"."""

    @property
    def library(self) -> str:
        """The Python package that runs the models."""

    @property
    def device(self) -> Literal["cpu", "gpu"]:
        """What its models compute on, and so which instances Triton makes of them."""

    @property
    def kinds(self) -> tuple[TargetKind, ...]:
        """The devices that it has recipes for."""
        return ("cpu",)

    @property
    def compiles_here_only(self) -> bool:
        """Whether its compiler works for the very device that it runs on, so that it has nothing for one elsewhere."""
        return False

    @property
    def requirement(self) -> str:
        """What pip installs on the device to run a job bundle."""

    @property
    def effort(self) -> str:
        """What its compiler takes, where that is minutes, as the rest of a sentence: "builds ..."."""
        return ""

    @property
    def python(self) -> Path | None:
        """The interpreter that runs its jobs here, where that is another one than pack's own."""
        return None

    @property
    def compiler(self) -> str | None:
        """Module whose `compile_model(request: CompileRequest) -> tuple[str, ...]` makes the artifact of candidates
        with a `build` step, in a child process, and returns remarks; None where the lowered graph is the artifact."""
        return None

    @property
    def reads(self) -> Literal["graph", "source"]:
        """What its compiler works on: the lowered ONNX graph, or the model's own source. Of what is only a graph, such
        as an .onnx file or a student, the latter compiles nothing."""
        return "graph"

    @property
    def length_multiple(self) -> int:
        """What lengths of texts are best rounded up to when they vary; 1 for runtimes that prepare nothing a shape."""
        return 1

    @property
    def is_fitted(self) -> bool:
        """Whether its candidates are made for a range of shapes, which `fit_shapes` tells them."""
        return False

    @property
    def builds_to_load(self) -> bool:
        """Whether loading a model is compiling it, so that each of several instances would do that for itself."""
        return False

    @property
    def server_requirement(self) -> str | None:
        """What pip installs for a server that runs its models; None where every server that pack uses has it."""
        return None

    @property
    def engine(self) -> Path:
        """The adapter that a job bundle gets as engine.py; packc.jobs.job says what it offers."""

    @property
    def engine_files(self) -> Mapping[str, Path]:
        """Name in a bundle -> file: the adapter, and what it imports where it is more than one file."""
        return {"engine.py": self.engine}

    @property
    def model_filename(self) -> str:
        """What Triton's backend calls the model in a version folder."""

    def precisions(self, target: Target) -> tuple[Precision, ...]:
        """Those that it has a recipe in, for one model or another, on a target of its kinds."""

    def candidates(
        self, info: SourceInfo, target: Target, precisions: tuple[Precision, ...]
    ) -> tuple[tuple[Candidate, ...], tuple[Rejection, ...]]:
        """The recipes that make sense for this model on this target, the baseline first; and what cannot run, why."""

    def fit_shapes(self, candidate: Candidate, ranges: Sequence[InputRange], settings: TensorRtSection) -> Candidate:
        """The candidate told which shapes it will be called with, for compilers that prepare for a range of them."""
        return candidate

    def explain_pointless(self, candidate: Candidate, source: SourceModel) -> str | None:
        """Why the candidate does the same as another one for this very graph; None where it may differ."""
        return None

    def require(self, info: SourceInfo) -> str:
        """What pip installs on a device elsewhere to run the bundles of this very model."""
        return self.requirement

    def on_request(self, info: SourceInfo, target: Target) -> Mapping[str, str]:
        """Candidates that are tried only where the spec names the runtime -> why not otherwise."""
        return {}

    def job_options(self, candidate: Candidate, threads: int) -> Mapping[str, OptionValue]:
        """Options of the adapter's `load`."""
        return candidate.session

    def configure_triton(self, config: Any, options: Mapping[str, OptionValue], threads: int) -> None:
        """Sets backend and parameters of a ModelConfig (tritonclient's protobuf) for instances of `threads` threads,
        with the `options` that `job_options` gave."""

    def as_measured(self, versions: Mapping[str, str]) -> Runtime:
        """The runtime for packages of what was measured with these `versions` of packages, here or elsewhere: servers
        get the one that was measured, where its packages are not tied to another."""
        return self

    def calibrates(self, step: PassStep) -> bool:
        """Whether its compiler reads calibration samples for this `build` step."""
        return False

    def compiler_versions(self) -> Mapping[str, str]:
        """Tool -> version of what makes its artifacts here, beside the packages of `versions`."""
        return {}

    def versions(self) -> Mapping[str, str]:
        """Package -> version of what runs the models here; empty when it is not installed."""
