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


def show_share(share: float) -> str:
    """A share to two decimals: 0.57; `< 0.01` for less."""
    return f"{share:.2f}" if share >= 0.01 else "< 0.01"


def show_bound(value: float) -> str:
    """A bound as a person wrote it: 15, 0.9, 1,000."""
    return f"{value:,.0f}" if value == int(value) else f"{value:g}"


def show_quality(value: float | None) -> str:
    """A quality value: 0.931; more decimals beside 1, so that only a perfect 1 reads like one; tiny errors 3.1e-06."""
    if value is None:
        return MISSING
    if 0 < abs(value) < 0.001:
        return f"{value:.1e}"
    decimals = 3
    while decimals < 7 and float(f"{value:.{decimals}f}") == 1.0 != value:
        decimals += 1
    return f"{value:.{decimals}f}"


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


def show_words(name: str) -> str:
    """A key of the spec or the manifest for people: `neighbour agreement`."""
    return name.replace("_", " ")


def show_protocol(protocol: str) -> str:
    """A protocol as people write it: HTTP, gRPC."""
    return {"http": "HTTP", "grpc": "gRPC"}.get(protocol, protocol)
