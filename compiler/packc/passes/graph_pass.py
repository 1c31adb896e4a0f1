"""What a graph pass is: it says what it needs, changes an onnx_ir model in place, and checks what it promised.

Modules of passes import onnx and its relatives inside their functions only: the parent process reads their names and
flags, the child process (packc.passes.worker) runs them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from packc.candidate import OptionValue
from packc.errors import PackError
from packc.ingest.source import Geometry

if TYPE_CHECKING:
    import onnx_ir as ir


class PassError(PackError):
    """A pass cannot apply, or did not keep its promise. One line for people."""


@dataclass(frozen=True, slots=True)
class PassContext:
    """What a pass may look at besides the graph."""

    geometry: Geometry | None
    options: Mapping[str, OptionValue]
    calibration: Path
    """Samples file (packc.samples) with inputs only."""
    scratch: Path
    """A folder of the pass's own, gone after it."""


@dataclass(frozen=True, slots=True)
class PassReport:
    """What a pass did."""

    name: str
    modified: bool
    fused: int = 0
    """Operators that stand in the graph in the form the pass makes: fused, quantized, cast."""
    expected: int | None = None
    """How many there should be at least; None where nothing says."""
    warnings: tuple[str, ...] = ()


class GraphPass(Protocol):
    """One rewrite of a graph. Inputs and outputs of the graph keep names, types and shapes."""

    @property
    def name(self) -> str: ...

    @property
    def exact(self) -> bool:
        """Whether the graph computes the same up to rounding. An exact pass that cannot apply is skipped with a
        warning; one that is not would leave a candidate that is not what its name says, so the candidate fails."""

    @property
    def options(self) -> tuple[str, ...]:
        """Names of the options it takes."""

    @property
    def calibrates(self) -> bool:
        """Whether its result depends on the calibration samples."""

    def requires(self, model: ir.Model, context: PassContext) -> str | None:
        """Why it cannot apply to this graph; None when it can."""

    def apply(self, model: ir.Model, context: PassContext) -> PassReport:
        """Changes `model` in place."""

    def ensures(self, model: ir.Model, context: PassContext) -> None:
        """Raises PassError when the changed graph is not what the pass promised."""


def report_fusion(name: str, what: str, fused: int, before: int, expected: int | None) -> PassReport:
    """The report of a fusion that found `before` operators already fused; fewer than expected is a warning."""
    warnings: tuple[str, ...] = ()
    if expected is not None and fused < expected:
        warnings = (f"{name}: {fused} of {expected} {what} fused; the rest runs as separate operators",)
    return PassReport(name, modified=fused != before, fused=fused, expected=expected, warnings=warnings)


def count_operators(model: ir.Model, *types: str) -> int:
    """Nodes of the standard domain whose operator is one of `types`."""
    return sum(node.domain in ("", "ai.onnx") and node.op_type in types for node in model.graph.all_nodes())
