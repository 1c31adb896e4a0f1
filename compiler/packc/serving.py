"""How Triton should serve the chosen artifact: instances, threads, batching and queue delay."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ServingPlan:
    """Serving choices for one model on one device; instances x threads never exceeds the cores."""

    instances: int
    threads: int
    """Intra-op threads of each instance."""
    max_batch_size: int
    """0 when the graph has no batch axis."""
    queue_delay_us: int
    """Longest wait for a fuller batch; counted against the latency budget."""
    reasons: tuple[str, ...]
