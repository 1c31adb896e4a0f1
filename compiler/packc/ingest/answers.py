"""Runs a source model over its inputs, batching those of equal shape: exact lengths, no padding, less time."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from packc.ingest.reference import Reference
from packc.samples import Array, Sample

BATCH = 16


def answer_samples(reference: Reference, samples: Sequence[Sample], *, batched: bool) -> list[dict[str, Array]]:
    """The outputs for each sample, in order, batch axis 1. `batched` tells whether the model takes several at once."""
    answers: list[dict[str, Array]] = [{} for _ in samples]
    for group in _group_by_shape(samples, BATCH if batched else 1):
        joined = {name: np.concatenate([samples[i][name] for i in group]) for name in samples[group[0]]}
        outputs = reference.answer(joined)
        for row, i in enumerate(group):
            answers[i] = {
                name: np.ascontiguousarray(output[row : row + 1] if batched else output)
                for name, output in outputs.items()
            }
    return answers


def _group_by_shape(samples: Sequence[Sample], largest: int) -> list[list[int]]:
    """Indices of samples whose tensors have the same shapes, at most `largest` together."""
    groups: dict[tuple[tuple[int, ...], ...], list[list[int]]] = {}
    for i, sample in enumerate(samples):
        shapes = tuple(array.shape for array in sample.values())
        chunks = groups.setdefault(shapes, [[]])
        if len(chunks[-1]) == largest:
            chunks.append([])
        chunks[-1].append(i)
    return [chunk for chunks in groups.values() for chunk in chunks]
