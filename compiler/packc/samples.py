"""Tensor samples on disk: the one format in which inputs and answers travel between processes.

An .npz (never pickled) whose keys are `<index>/<tensor name>`, index counting from 0. Samples may differ in length;
each array keeps its batch axis, so sample 3 of a text model has `3/input_ids` of shape [1, length].
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

DAMAGE = (OSError, EOFError, ValueError, KeyError, TypeError, RuntimeError, zipfile.BadZipFile, zlib.error)
"""What reading a samples file raises that was cut short, edited, or never was one."""

Array = npt.NDArray[np.generic]
Sample = Mapping[str, Array]


def save_samples(path: Path, samples: Iterable[Sample]) -> None:
    """Writes `samples` to `path` one by one; see the module's docstring for the layout.

    Raises ValueError for object arrays. Nothing is left at `path` when it fails, or when `samples` does.
    """
    save_numbered(path, enumerate(samples))


def save_numbered(path: Path, samples: Iterable[tuple[int, Sample]]) -> None:
    """As `save_samples`, for samples that come with their index, in any order."""
    try:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
            for index, sample in samples:
                for name, array in sample.items():
                    if array.dtype.hasobject:
                        raise ValueError("samples hold numbers, not Python objects")
                    with archive.open(f"{index}/{name}.npy", "w", force_zip64=True) as file:
                        np.lib.format.write_array(file, array, allow_pickle=False)
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def load_samples(path: Path, indices: Iterable[int] | None = None) -> list[dict[str, Array]]:
    """Reads what `save_samples` wrote: all in order, or those at `indices`."""
    return list(iter_samples(path, indices))


def iter_samples(path: Path, indices: Iterable[int] | None = None) -> Iterator[dict[str, Array]]:
    """As `load_samples`, one at a time: no array is read before its sample's turn.

    Raises KeyError for an index that the file has not.
    """
    with np.load(path, allow_pickle=False) as archive:
        samples = _group_keys(archive.files)
        for index in range(len(samples)) if indices is None else indices:
            yield {name: archive[key] for name, key in samples[index].items()}


def count_saved(path: Path) -> int:
    """How many samples the file holds; none is read."""
    with np.load(path, allow_pickle=False) as archive:
        return len(_group_keys(archive.files))


def _group_keys(keys: Iterable[str]) -> dict[int, dict[str, str]]:
    """Sample's index -> tensor's name -> its key in the archive."""
    samples: dict[int, dict[str, str]] = {}
    for key in keys:
        index, name = key.split("/", 1)
        samples.setdefault(int(index), {})[name] = key
    return samples


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
