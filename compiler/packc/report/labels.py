"""Places labels beside the points of a plot so that none covers another, a point or a line's caption."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

_DISTANCES = (0.0, 10.0, 22.0, 36.0, 52.0)
"""How far a label may be from its point, beyond touching it, nearest first."""
_LEADER_FROM = 10.0


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle: its top left corner and size."""

    x: float
    y: float
    width: float
    height: float

    def overlaps(self, other: Box) -> bool:
        return (
            self.x < other.x + other.width
            and other.x < self.x + self.width
            and self.y < other.y + other.height
            and other.y < self.y + self.height
        )

    def holds(self, other: Box) -> bool:
        """Whether `other` lies wholly within this box."""
        return (
            self.x <= other.x
            and other.x + other.width <= self.x + self.width
            and self.y <= other.y
            and other.y + other.height <= self.y + self.height
        )


@dataclass(frozen=True, slots=True)
class Anchor:
    """A point that wants a label of `width` x `height` within `area`; `radius` is that of its marker."""

    x: float
    y: float
    radius: float
    width: float
    height: float
    area: Box


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a label goes; `is_far` when a line should tie it to its point."""

    box: Box
    is_far: bool


def place_labels(anchors: Sequence[Anchor], obstacles: Sequence[Box]) -> tuple[Placement, ...] | None:
    """A place for each label, in order, the first anchors served best; None when there is no room for all."""
    taken = list(obstacles)
    placed = []
    for anchor in anchors:
        for box, distance in _candidate_boxes(anchor):
            if anchor.area.holds(box) and not any(box.overlaps(other) for other in taken):
                placed.append(Placement(box, distance >= _LEADER_FROM))
                taken.append(box)
                break
        else:
            return None
    return tuple(placed)


def _candidate_boxes(anchor: Anchor) -> Iterator[tuple[Box, float]]:
    """Boxes around the point and their distance from it: beside it first, then above and below, sliding sideways."""
    width, height = anchor.width, anchor.height
    for distance in _DISTANCES:
        reach = anchor.radius + 4 + distance
        middle = anchor.y - height / 2
        above, below = anchor.y - reach - height, anchor.y + reach
        yield Box(anchor.x + reach, middle, width, height), distance
        yield Box(anchor.x - reach - width, middle, width, height), distance
        for slide in (0.5, 0.25, 0.75, 0.0, 1.0):
            for y in (above, below):
                yield Box(_clamp(anchor.x - slide * width, anchor), y, width, height), distance
        for y in (above, below):
            yield Box(anchor.x + reach, y, width, height), distance
            yield Box(anchor.x - reach - width, y, width, height), distance


def _clamp(x: float, anchor: Anchor) -> float:
    """`x`, or the nearest place where the label is within its area."""
    return max(anchor.area.x, min(x, anchor.area.x + anchor.area.width - anchor.width))
