"""Names, element types and shapes of tensors: the vocabulary shared by every stage."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Precision = Literal["fp32", "tf32", "bf16", "fp16", "fp8", "int8", "int4"]
PRECISIONS: tuple[Precision, ...] = ("fp32", "tf32", "bf16", "fp16", "fp8", "int8", "int4")

Dim = int | str
"""A fixed size, or the name of a dynamic axis ("batch", "sequence", ...)."""


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """One input or output of a model: name, numpy dtype name ("float32", "int64", "object" for strings), shape."""

    name: str
    dtype: str
    shape: tuple[Dim, ...]

    @property
    def is_batched(self) -> bool:
        """Whether axis 0 is the dynamic batch."""
        return bool(self.shape) and self.shape[0] == "batch"


@dataclass(frozen=True, slots=True)
class InputRange:
    """The shapes of one input that have to be served; equal ones where nothing varies."""

    name: str
    least: tuple[int, ...]
    cases: tuple[tuple[int, ...], ...]
    """Those of the workload's cases, the typical one first."""
    most: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ShapeCase:
    """A shape at which latency is measured: `batch` samples of `sequence` tokens (None where there are none)."""

    name: str
    """"typical" or "max"."""
    batch: int
    sequence: int | None
