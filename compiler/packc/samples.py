"""Tensor samples on disk: the one format in which inputs and answers travel between processes.

An .npz (never pickled) whose keys are `<index>/<tensor name>`, index counting from 0. Samples may differ in length;
each array keeps its batch axis, so sample 3 of a text model has `3/input_ids` of shape [1, length].
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.generic]
Sample = Mapping[str, Array]


def save_samples(path: Path, samples: Sequence[Sample]) -> None:
    """Writes `samples` to `path`; see the module's docstring for the layout. Raises ValueError for object arrays."""
    arrays = {f"{i}/{name}": array for i, sample in enumerate(samples) for name, array in sample.items()}
    if any(array.dtype.hasobject for array in arrays.values()):
        raise ValueError("samples hold numbers, not Python objects")
    with path.open("wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]  # the names are none of its own parameters


def load_samples(path: Path) -> list[dict[str, Array]]:
    """Reads what `save_samples` wrote, in order."""
    samples: dict[int, dict[str, Array]] = {}
    with np.load(path, allow_pickle=False) as archive:
        for key in archive.files:
            index, name = key.split("/", 1)
            samples.setdefault(int(index), {})[name] = archive[key]
    return [samples[i] for i in range(len(samples))]


@dataclass(frozen=True, slots=True)
class RawSamples:
    """Samples as people keep them, before any preprocessing; one of the three kinds is filled.

    None is when they are generated for a model of tensors: ingest then draws them from the exported graph's inputs.
    """

    origin: str
    """Where they come from, for reports: a file's path, or "generated"."""
    texts: tuple[str, ...] = ()
    """One string a sample, or pairs joined by a tab for tasks on pairs."""
    images: tuple[Path, ...] = ()
    """Encoded image files (PNG, JPEG)."""
    tensors: Path | None = None
    """A samples file of this module's layout."""
    labels: tuple[str, ...] = ()
    """True class names or indices as text, one a sample; empty when they are not known."""

    @property
    def is_generated(self) -> bool:
        return self.origin == "generated"
