"""Reads tensors from .npz files; a pickled object in one is refused."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path

import numpy as np

from packc.cache import Cache, cache_key
from packc.errors import DataError, Diagnostic
from packc.ingest.fingerprint import hash_file
from packc.samples import Array, RawSamples, save_samples

LABEL = "label"
_SAMPLE_KEY = re.compile(r"(\d+)/(.+)")


def read_tensor_file(path: Path) -> RawSamples:
    """The samples in an .npz: of packc.samples' layout, or one array for each input with samples along axis 0.

    The latter is split into the former, which lies in the cache; its array "label", if any, holds class names or
    indices. Whether names, types and shapes are the model's is seen once the model is exported.
    Raises DataError when it is not such a file.
    """
    arrays = _read_arrays(path)
    if not arrays:
        raise DataError(Diagnostic(f"{path} has no samples: it is empty"))
    if any(_SAMPLE_KEY.fullmatch(key) for key in arrays):
        _check_layout(path, list(arrays))
        return RawSamples(origin=str(path), tensors=path)
    labels = arrays.pop(LABEL, None)
    if not arrays:
        raise DataError(Diagnostic(f"{path} has labels and no inputs"))
    lengths = {name: len(array) if array.ndim else 0 for name, array in arrays.items()}
    if labels is not None:
        lengths[LABEL] = len(labels) if labels.ndim else 0
    if not any(lengths.values()):
        raise DataError(Diagnostic(f"{path} has no samples: its arrays are empty"))
    if len(set(lengths.values())) != 1:
        shown = ", ".join(f"{name} has {length}" for name, length in lengths.items())
        raise DataError(
            Diagnostic(
                f"{path}: the arrays do not agree on the number of samples: {shown}",
                hint="axis 0 of every array counts the samples",
            )
        )
    classes = () if labels is None else tuple(str(label) for label in labels.tolist())
    return RawSamples(origin=str(path), tensors=_split(path, arrays), labels=classes)


def _read_arrays(path: Path) -> dict[str, Array]:
    hint = "write it with numpy.savez, numbers only"
    if not zipfile.is_zipfile(path):
        raise DataError(Diagnostic(f"{path} is not readable as .npz: it is no archive, or it is truncated", hint=hint))
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {key: archive[key] for key in archive.files}
    except (OSError, ValueError, EOFError, AttributeError, zipfile.BadZipFile) as error:
        reason = "it holds pickled objects" if "allow_pickle" in str(error) else str(error)
        raise DataError(Diagnostic(f"{path} is not readable as .npz: {reason}", hint=hint)) from error


def _check_layout(path: Path, keys: list[str]) -> None:
    matches = [_SAMPLE_KEY.fullmatch(key) for key in keys]
    odd = [key for key, match in zip(keys, matches, strict=True) if match is None]
    indices = sorted({int(match[1]) for match in matches if match})
    if odd or indices != list(range(len(indices))):
        wrong = f"the key {odd[0]!r} is of no sample" if odd else f"sample {_first_gap(indices)} is missing"
        raise DataError(Diagnostic(f"{path}: {wrong}", hint='keys are "<sample>/<input>", samples count from 0'))


def _first_gap(indices: list[int]) -> int:
    return next(i for i, index in enumerate(indices) if i != index)


def _split(path: Path, arrays: dict[str, Array]) -> Path:
    def make(folder: Path) -> None:
        count = len(next(iter(arrays.values())))
        save_samples(
            folder / "samples.npz",
            [{name: array[i : i + 1] for name, array in arrays.items()} for i in range(count)],
        )

    return Cache().get_or_make("tensors", cache_key(file=hash_file(path)), make) / "samples.npz"
