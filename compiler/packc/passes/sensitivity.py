"""What int8 costs in each linear layer, and in which order layers are worth keeping in a higher precision."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

LayerKind = Literal[
    "attention query",
    "attention key",
    "attention value",
    "attention in",
    "attention out",
    "ffn up",
    "ffn down",
    "other",
]
""""attention in" is a projection into an attention whose queries, keys and values cannot be told apart."""


@dataclass(frozen=True, slots=True)
class LayerSensitivity:
    """One linear layer of a graph: what it loses when it alone is int8, and what it costs."""

    name: str
    """As `find_linear_layers` has it."""
    kind: LayerKind
    block: int | None
    """Which repetition it belongs to, from 0; None outside the repeated structure."""
    error: float
    """Change of the model's answer relative to its norm, root mean square over the samples."""
    cost_share: float
    """Of the multiply-adds of all linear layers, over the samples."""


@dataclass(frozen=True, slots=True)
class Sensitivity:
    """The layers of one graph in its order, measured over so many calibration samples."""

    layers: tuple[LayerSensitivity, ...]
    samples: int


def rank_layers(layers: Sequence[LayerSensitivity]) -> list[LayerSensitivity]:
    """The layer first whose higher precision saves the most error for its cost.

    Errors of layers are independent and add up in squares, so that the square is what a layer contributes.
    """
    return sorted(layers, key=lambda layer: (-(layer.error**2) / max(layer.cost_share, 1e-12), layer.name))


def predict_errors(ranked: Sequence[LayerSensitivity]) -> list[float]:
    """Estimated error of the answer with the first k layers kept, for each k from 0 to all: 0 at the end."""
    rest = [sum(layer.error**2 for layer in ranked[count:]) for count in range(len(ranked) + 1)]
    return [math.sqrt(square) for square in rest]
