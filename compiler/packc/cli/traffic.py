"""Words for the traffic that served figures are about."""

from __future__ import annotations


def say_traffic(concurrency: int, rate_per_s: float) -> str:
    """ "1 client", "8 clients", or "50 requests/s" when there is a rate."""
    if rate_per_s:
        return f"{rate_per_s:g} requests/s"
    return f"{concurrency} client{'s' if concurrency > 1 else ''}"
