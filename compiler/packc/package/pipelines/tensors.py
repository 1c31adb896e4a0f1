"""Pipeline "none": the compiled graph itself, tensors in and tensors out. The other pipelines have it as a member."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from packc.candidate import Candidate, OptionValue
from packc.ingest.source import SourceModel
from packc.package.model_config import (
    add_batching,
    add_cache,
    add_instances,
    add_tensor,
    add_warmup,
    new_config,
)
from packc.package.pipelines.triton_model import FileContent, TritonModel, version_path
from packc.samples import Sample
from packc.serving import ServingPlan
from packc.spec.model import Task

CLASSIFIERS: tuple[Task, ...] = ("text-classification", "image-classification")
"""Tasks whose answer is one row of logits a sample."""

WARMUP_CALLS: Mapping[Literal["cpu", "gpu"], int] = {"cpu": 1, "gpu": 3}
"""Of each shape while a model loads: on a GPU the second or third one records a CUDA graph."""

ENGINE_MODEL = Path(__file__).with_name("engine_model.py")
"""The Python model around the engine of a runtime that no native backend serves."""


def name_answer(task: Task) -> str:
    """What the one output of a text or image pipeline without labels is called."""
    return "score" if task == "text-ranking" else "embedding"


class TritonRuntime(Protocol):
    """The side of a runtime that a package needs."""

    @property
    def library(self) -> str:
        """The Python package that runs the models where no backend does."""

    @property
    def device(self) -> Literal["cpu", "gpu"]:
        """What the models compute on."""

    @property
    def server_requirement(self) -> str | None:
        """What pip installs for a server that runs the models; None where servers have it."""

    @property
    def engine_files(self) -> Mapping[str, Path]:
        """The adapter that runs the models in a Python process; packc.jobs.job says what it offers."""

    @property
    def model_filename(self) -> str:
        """The artifact's main file in a version folder."""

    def job_options(self, candidate: Candidate, threads: int) -> Mapping[str, OptionValue]:
        """Options of the adapter's `load`."""

    def configure_triton(self, config: Any, options: Mapping[str, OptionValue], threads: int) -> None:
        """Sets backend and parameters of a ModelConfig so that each instance computes on `threads` threads, with the
        `options` of the adapter's `load`: what was timed is what is served."""


@dataclass(frozen=True, slots=True)
class Ingredients:
    """All that the Triton models of one package are made of."""

    name: str
    """Of the model that clients call."""
    source: SourceModel
    artifact: Mapping[str, Path]
    """Files of the compiled model, by their name in the version folder."""
    runtime: TritonRuntime
    serving: ServingPlan
    warmup: Sequence[Sample]
    """Inputs of the graph, batch axis 1 each; empty for no warm-up."""
    cache: bool
    """Whether Triton's response cache answers repeated requests."""
    engine_options: Mapping[str, OptionValue] = field(default_factory=dict)
    """Of the runtime's adapter, as the candidate was timed with."""

    @property
    def helpers(self) -> int:
        """Processes for each Python step beside the graph: one keeps up with about four model instances."""
        return (self.serving.instances + 3) // 4


def build_tensor_models(ingredients: Ingredients) -> tuple[TritonModel, ...]:
    """The graph alone, under the package's name."""
    model = build_graph_model(ingredients, ingredients.name)
    if ingredients.cache:
        add_cache(model.config)
    info = ingredients.source.info
    if not info.labels or info.task not in CLASSIFIERS:
        return (model,)
    answer = next(tensor for tensor in model.config.output if tensor.name == ingredients.source.answer)
    answer.label_filename = "labels.txt"
    text = "".join(" ".join(label.split()) + "\n" for label in info.labels)
    return (TritonModel(model.config, {**model.files, "labels.txt": text}),)


def build_graph_model(ingredients: Ingredients, name: str) -> TritonModel:
    """The compiled graph as a Triton model called `name`: every tensor written, batched, on the planned instances."""
    serving = ingredients.serving
    config = new_config(name, serving.max_batch_size)
    for tensor in ingredients.source.inputs:
        add_tensor(config, "input", tensor)
    for tensor in ingredients.source.outputs:
        add_tensor(config, "output", tensor)
    add_batching(config, serving.queue_delay_us, serving.preferred_batch_sizes)
    add_instances(config, serving.instances, ingredients.runtime.device)
    ingredients.runtime.configure_triton(config, ingredients.engine_options, serving.threads)
    files: dict[str, FileContent] = {version_path(file): path for file, path in ingredients.artifact.items()}
    if config.backend == "python":
        python = {"model.py": ENGINE_MODEL, **ingredients.runtime.engine_files}
        files |= {version_path(file): path for file, path in python.items()}
    files |= add_warmup(config, ingredients.warmup, WARMUP_CALLS[ingredients.runtime.device])
    return TritonModel(config, files)
