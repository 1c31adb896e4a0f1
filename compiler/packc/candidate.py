"""A candidate: one way to compile the model. The vocabulary of plan, jobs, select and reports."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from packc.tensors import Precision

OptionValue = str | int | float | bool | tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PassStep:
    """One graph pass with its options, as it stands in a candidate's recipe."""

    name: str
    options: Mapping[str, OptionValue] = field(default_factory=dict)

    def __str__(self) -> str:
        """`name` or `name[key=value,...]`: the form in manifests and reports."""
        if not self.options:
            return self.name
        return f"{self.name}[{','.join(f'{k}={_option_text(v)}' for k, v in sorted(self.options.items()))}]"


def _option_text(value: OptionValue) -> str:
    return "+".join(value) if isinstance(value, tuple) else str(value)


@dataclass(frozen=True, slots=True)
class Candidate:
    """One way to compile the model: a runtime, a precision, and the graph passes that lead there."""

    id: str
    """Stable and readable: "onnxruntime-int8-dynamic"."""
    runtime: str
    precision: Precision
    passes: tuple[PassStep, ...]
    build: PassStep | None = None
    """What the runtime's own compiler makes of the lowered graph; None where that graph is the artifact."""

    source: Literal["model", "student"] = "model"
    """Which exported graph the passes begin with: the model's, or that of a student distilled from it."""
    session: Mapping[str, OptionValue] = field(default_factory=dict)
    """What the runtime is told when it loads the artifact, where a recipe says more than its passes."""

    @property
    def steps(self) -> tuple[PassStep, ...]:
        """All that is done to the exported graph, in order."""
        return self.passes if self.build is None else (*self.passes, self.build)


@dataclass(frozen=True, slots=True)
class Rejection:
    """A candidate, precision or runtime that is not worth building here, and why."""

    what: str
    reason: str


def group_rejections(rejected: Iterable[Rejection]) -> tuple[Rejection, ...]:
    """What has one reason together, "a, b", in the order of its first."""
    names: dict[str, list[str]] = {}
    for item in rejected:
        names.setdefault(item.reason, []).append(item.what)
    return tuple(Rejection(", ".join(found), reason) for reason, found in names.items())
