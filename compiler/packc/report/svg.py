"""Elements and scales for plots that are drawn by hand: markup as text, escaped, without a drawing library."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

WIDE_RANGE = 8.0
"""A range whose ends are further apart than this ratio gets a logarithmic axis."""

Attribute = str | float | None


def draw(name: str, *children: str | Markup, **attributes: Attribute) -> Markup:
    """An SVG element. `stroke_width` becomes `stroke-width`, `class_` becomes `class`; None leaves an attribute out.

    Children that are not Markup are escaped. Lengths are rounded to a tenth.
    """
    pairs = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(_show_attribute(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    inner = Markup("").join(escape(child) for child in children)
    return Markup(f"<{name}{pairs}>{inner}</{name}>") if inner else Markup(f"<{name}{pairs}/>")


@dataclass(frozen=True, slots=True)
class Scale:
    """Maps values in [low, high] to lengths in [start, end]; start may be above end, as on a y axis."""

    low: float
    high: float
    start: float
    end: float
    is_log: bool = False

    def __call__(self, value: float) -> float:
        low, high, value = (
            (math.log(v) for v in (self.low, self.high, value))
            if self.is_log
            else (
                self.low,
                self.high,
                value,
            )
        )
        return self.start + (value - low) / (high - low) * (self.end - self.start)

    def ticks(self, count: int) -> tuple[float, ...]:
        """At most about `count` round values within the range."""
        return _log_ticks(self.low, self.high, count) if self.is_log else _linear_ticks(self.low, self.high, count)


def fit_scale(values: Sequence[float], start: float, end: float, *, margin: float = 0.06, log: bool = True) -> Scale:
    """A scale that holds all `values` with a `margin` (a share of its length) at both ends.

    Logarithmic when `log` allows it, the values are positive and their range is wide.
    """
    low, high = min(values), max(values)
    if log and low > 0 and high / low > WIDE_RANGE:
        spread = (high / low) ** (margin / (1 - 2 * margin))
        return Scale(low / spread, high * spread, start, end, is_log=True)
    spread = (high - low or abs(high) * 0.1 or 1.0) * margin / (1 - 2 * margin)
    return Scale(low - spread, high + spread, start, end)


def _linear_ticks(low: float, high: float, count: int) -> tuple[float, ...]:
    rough = (high - low) / max(count, 1)
    magnitude = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * magnitude for factor in (1, 2, 2.5, 5, 10) if factor * magnitude >= rough * (1 - 1e-9))
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return tuple(round(i * step, 12) for i in range(first, last + 1))


def _log_ticks(low: float, high: float, count: int) -> tuple[float, ...]:
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    ticks: tuple[float, ...] = ()
    for factors in ((1, 2, 5), (1, 3), (1,)):
        ticks = tuple(f * 10.0**d for d in decades for f in factors if low <= f * 10.0**d <= high)
        if len(ticks) <= count:
            break
    return ticks


def _show_attribute(value: str | float) -> str:
    return value if isinstance(value, str) else f"{value:.1f}".removesuffix(".0")
