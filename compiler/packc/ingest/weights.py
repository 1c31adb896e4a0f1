"""Reads the headers of a checkpoint's safetensors files: sizes and counts, without a weight being loaded."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packc.errors import SourceError

PICKLE_SUFFIXES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
MAX_HEADER_BYTES = 100_000_000
CONVERT_HINT = (
    "load it once where it is trusted, with the class that it was trained with, and save it with `save_pretrained`"
)


@dataclass(frozen=True, slots=True)
class Weights:
    """The weight files of a checkpoint; `size_bytes` counts the tensors as they are stored."""

    files: tuple[Path, ...]
    parameters: int
    size_bytes: int


def read_weights(folder: Path) -> Weights:
    """Weights of the checkpoint in `folder`: `model.safetensors`, or the shards of its index.

    Raises SourceError when there are none, when they are only pickles, and when a file is truncated or not safetensors.
    """
    index = folder / "model.safetensors.index.json"
    single = folder / "model.safetensors"
    if single.is_file():
        files: tuple[Path, ...] = (single,)
    elif index.is_file():
        files = _shards(index)
    else:
        raise _no_weights(folder)
    headers = [_read_header(file) for file in files]
    return Weights(files, sum(parameters for parameters, _ in headers), sum(size for _, size in headers))


def _shards(index: Path) -> tuple[Path, ...]:
    try:
        names = sorted(set(json.loads(index.read_text())["weight_map"].values()))
    except (ValueError, KeyError, AttributeError) as error:
        raise SourceError(f"{index} is not an index of safetensors shards: {error!r}") from error
    missing = [name for name in names if not (index.parent / name).is_file()]
    if missing:
        raise SourceError(
            f"{index.parent} lacks {len(missing)} of its {len(names)} weight files: {', '.join(missing)}",
            hint="fetch the checkpoint again",
        )
    return tuple(index.parent / name for name in names)


def _no_weights(folder: Path) -> SourceError:
    pickles = sorted(file.name for file in folder.iterdir() if file.suffix in PICKLE_SUFFIXES)
    if pickles:
        return pickle_error(folder / pickles[0])
    others = sorted(file.name for file in folder.glob("*.safetensors"))
    seen = f"; it has {', '.join(others)}" if others else ""
    return SourceError(
        f"{folder} has no weights: neither model.safetensors nor model.safetensors.index.json{seen}",
        hint="give the folder that `save_pretrained` wrote",
    )


def pickle_error(file: Path) -> SourceError:
    """The error for a checkpoint that only exists as a pickle."""
    return SourceError(
        f"{file} is a pickle checkpoint, which can run code when it is loaded: pack reads safetensors only",
        hint=CONVERT_HINT,
    )


def _read_header(file: Path) -> tuple[int, int]:
    """Number of parameters and of tensor bytes in one safetensors file.

    The layout is 8 bytes (header length, little-endian), the header (JSON), the tensors end to end.
    """
    size = file.stat().st_size
    with file.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        if size < 8 or length > MAX_HEADER_BYTES:
            raise SourceError(f"{file} is not a safetensors file", hint="fetch the checkpoint again")
        header_text = stream.read(length)
    if len(header_text) < length:
        raise _truncated(file, size, 8 + length, "at least ")
    try:
        header = json.loads(header_text)
        tensors: list[Any] = [entry for name, entry in header.items() if name != "__metadata__"]
        parameters = sum(math.prod(entry["shape"]) for entry in tensors)
        tensor_bytes = max((entry["data_offsets"][1] for entry in tensors), default=0)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise SourceError(f"{file} is not a safetensors file: {error!r}", hint="fetch the checkpoint again") from error
    expected = 8 + length + tensor_bytes
    if size < expected:
        raise _truncated(file, size, expected)
    return parameters, tensor_bytes


def _truncated(file: Path, size: int, expected: int, at_least: str = "") -> SourceError:
    return SourceError(
        f"{file} is truncated: {at_least}{expected - size:,} of its {expected:,} bytes are missing",
        hint="the download or copy stopped early; fetch the file again",
    )
