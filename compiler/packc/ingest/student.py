"""A student of a text model: the same module with fewer, evenly spaced layers. Made in the worker process."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from typing import Any

from packc.errors import DataError, Diagnostic, SourceError
from packc.ingest.reference import TorchReference

LEAST_LESSONS = 2


@dataclass(frozen=True, slots=True)
class StudentPlan:
    """How a student is to be trained."""

    layers: int
    of_layers: int
    """The teacher's."""
    steps: int
    max_seconds: float
    data: str
    """Where the samples come from, for reports."""


@dataclass(frozen=True, slots=True)
class Training:
    """What was trained, and what came of it."""

    layers: int
    of_layers: int
    steps: int
    samples: int
    """That it was trained on, not counting those held out."""
    loss_before: float
    """On samples that were held out, as is the next."""
    loss_after: float
    seconds: float
    data: str
    of_steps: int
    """That were asked for; more than `steps` where the time was over first."""

    @property
    def is_cut(self) -> bool:
        """Whether the time was over first: another training may then end with another student."""
        return self.steps < self.of_steps


def check_lessons(count: int, data: str) -> None:
    """Raises DataError where `count` texts from `data` are too few to train on some and judge on others."""
    if count < LEAST_LESSONS:
        found = f"{data} has {'one text' if count == 1 else 'no text'}"
        message = f"[optimize] distill: {found}, and a student takes {LEAST_LESSONS} at least"
        hint = "one is held out to judge it; hundreds of texts are a start, and no labels are needed"
        raise DataError(Diagnostic(message, hint=hint))


@dataclass(frozen=True, slots=True)
class Student:
    """A smaller model, and which layers of its teacher its layers are to do as."""

    reference: TorchReference
    layers: tuple[Any, ...]
    """Modules whose first output is the hidden state."""
    models: tuple[Any, ...]
    """Of the teacher, one for each of `layers`: each layer's work is all that lies between two of them."""


def make_student(teacher: TorchReference, layers: int, of_layers: int) -> Student:
    """A student of `layers`, each begun as the teacher's layer whose output it is to have; the teacher stays whole.

    Embeddings and head are copies. Raises SourceError when the teacher does not keep its `of_layers` layers in one list
    of modules.
    """
    import torch

    name = _find_layers(teacher.module, of_layers)
    places = choose_layers(layers, of_layers)
    models = tuple(teacher.module.get_submodule(name)[place] for place in places)
    module = copy.deepcopy(teacher.module)
    parent, _, attribute = name.rpartition(".")
    kept = torch.nn.ModuleList([module.get_submodule(name)[place] for place in places])
    setattr(module.get_submodule(parent), attribute, kept)
    for part in module.modules():
        if hasattr(part, "config") and getattr(part.config, "num_hidden_layers", None) == of_layers:
            part.config.num_hidden_layers = layers
    return Student(replace(teacher, module=module), tuple(kept), models)


def choose_layers(layers: int, of_layers: int) -> list[int]:
    """Indices of `layers` evenly spaced layers, the last one among them: 3 of 6 are 1, 3 and 5."""
    return [-(-(i + 1) * of_layers // layers) - 1 for i in range(layers)]


def _find_layers(module: Any, of_layers: int) -> str:
    """Name of the one list of `of_layers` modules."""
    import torch

    lists: list[str] = [
        name
        for name, part in module.named_modules()
        if isinstance(part, torch.nn.ModuleList) and len({id(layer) for layer in part}) == of_layers == len(part)
    ]
    if len(lists) != 1:
        found = ", ".join(lists) or "none"
        raise SourceError(
            f"no student can be made: the model should have one list of {of_layers} layers, it has {found}",
            hint="leave [optimize] distill out for this model",
        )
    return lists[0]
