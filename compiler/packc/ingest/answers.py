"""Runs a source model over its inputs, batching those of equal shape: exact lengths, no padding, less time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain, islice
from pathlib import Path

import numpy as np

from packc.ingest.reference import Reference
from packc.samples import Array, Sample, iter_samples

BATCH = 16


def answer_samples(reference: Reference, inputs: Path, *, batched: bool) -> Iterator[tuple[int, dict[str, Array]]]:
    """Index and outputs, batch axis 1, of each sample in the samples file `inputs`, those of equal shape together.

    `batched` tells whether the model takes several at once. Memory holds BATCH samples and their answers.
    """
    groups = _group_by_shape(iter_samples(inputs), BATCH if batched else 1)
    ordered = iter_samples(inputs, chain.from_iterable(groups))
    for group in groups:
        samples = list(islice(ordered, len(group)))
        outputs = reference.answer({name: np.concatenate([sample[name] for sample in samples]) for name in samples[0]})
        for row, i in enumerate(group):
            yield (
                i,
                {
                    name: np.ascontiguousarray(output[row : row + 1] if batched else output)
                    for name, output in outputs.items()
                },
            )


def _group_by_shape(samples: Iterable[Sample], largest: int) -> list[list[int]]:
    """Indices of samples whose tensors have the same shapes, at most `largest` together."""
    groups: dict[tuple[tuple[int, ...], ...], list[list[int]]] = {}
    for i, sample in enumerate(samples):
        shapes = tuple(array.shape for array in sample.values())
        chunks = groups.setdefault(shapes, [[]])
        if len(chunks[-1]) == largest:
            chunks.append([])
        chunks[-1].append(i)
    return [chunk for chunks in groups.values() for chunk in chunks]
