"""Figures as text: three significant digits, never a number that was not measured, never a rounding that lies.

A missing figure is an en dash; whoever prints it says why it is missing.
"""

from __future__ import annotations

MISSING = "–"
"""Stands for a figure that was not measured."""


def show_figure(value: float | None) -> str:
    """`value` to three significant digits without an exponent (1,234; 56.7; 8.90; 0.123); None as an en dash."""
    if value is None:
        return MISSING
    size = abs(value)
    if size >= 100:
        return f"{value:,.0f}"
    if size >= 10:
        return f"{value:.1f}"
    if size >= 1 or size == 0:
        return f"{value:.2f}"
    return f"{value:.3f}" if size >= 0.001 else f"{value:.2g}"


def show_bound(value: float) -> str:
    """A bound as a person wrote it: 15, 0.9, 1,000."""
    return f"{value:,.0f}" if value == int(value) else f"{value:g}"


def show_quality(value: float | None) -> str:
    """A quality value to three decimals; more where it would read as a perfect 1 or 0 and is not."""
    if value is None:
        return MISSING
    for decimals in range(3, 7):
        text = f"{value:.{decimals}f}"
        if value == int(value) or float(text) not in (0.0, 1.0):
            return text
    return f"{value:.1e}" if abs(value) < 0.5 else text


def show_against(value: float, bound: float, *, quality: bool = False) -> str:
    """`value`, with as many digits as it takes not to read like `bound` when it is not equal to it."""
    text = show_quality(value) if quality else show_figure(value)
    digits = 2
    while value != bound and float(text.replace(",", "")) == bound and digits < 9:
        digits += 1
        text = f"{value:,.{digits}f}"
    return text


def show_percentile(percentile: float) -> str:
    """p99, p99.9."""
    return f"p{percentile:g}"
