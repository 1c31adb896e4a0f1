"""Reads a candidate's answers beside the source model's, sample by sample, and refuses what cannot be compared."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
from numpy.lib.npyio import NpzFile

from packc.errors import DataError, Diagnostic, PackError
from packc.samples import DAMAGE

Values = npt.NDArray[np.float64]
Pair = tuple[Values, Values]

T = TypeVar("T")

PARTNERS = {
    "start_logits": ("start_logits", "end_logits"),
    "end_logits": ("start_logits", "end_logits"),
    "logits": ("logits", "pred_boxes"),
    "class_queries_logits": ("class_queries_logits", "masks_queries_logits"),
}
"""Outputs that make one answer together: both ends of a span, a detector's classes and boxes, the classes and masks of
a segmenter's queries. Each counts as much as its partner."""


def judged_outputs(output: str, available: tuple[str, ...]) -> tuple[str, ...]:
    """The outputs that quality is judged on: `output`, and its partners where the model has them."""
    return tuple(name for name in PARTNERS.get(output, ()) if name in available) or (output,)


def read_pairs(reference: Path, candidate: Path, output: str) -> Iterator[tuple[Pair, ...]]:
    """Of each sample, in order, the (reference, candidate) answers of every judged output.

    Raises PackError when samples or outputs are missing, shapes differ, the candidate's answer holds NaN or infinity,
    or its file is damaged; DataError when the source model's own does.
    """
    with np.load(reference, allow_pickle=False) as ours, _open_candidate(candidate) as theirs:
        expected, found = _outputs_of(ours), _read(candidate, lambda: _outputs_of(theirs))
        if len(found) != len(expected):
            raise PackError(f"the candidate answered {len(found)} samples of {len(expected)}")
        for index, available in expected.items():
            names = judged_outputs(output, tuple(available))
            for who, outputs in (("the source model", available), ("the candidate", found.get(index, set()))):
                for name in names:
                    if name not in outputs:
                        raise PackError(f"{who} gave no output {name!r} for sample {index}")
            answers = [_read(candidate, partial(theirs.__getitem__, f"{index}/{n}")) for n in names]
            yield tuple(
                _check_pair(ours[f"{index}/{n}"], answer, f"{n!r}, sample {index}")
                for n, answer in zip(names, answers, strict=True)
            )


def _open_candidate(path: Path) -> NpzFile:
    archive = _read(path, lambda: np.load(path, allow_pickle=False))
    if not isinstance(archive, NpzFile):
        raise PackError(f"{path} is no archive of answers")
    return archive


def _read(path: Path, read: Callable[[], T]) -> T:
    """What `read` makes of the file at `path`, which may have been damaged on its way. Raises PackError for that."""
    try:
        return read()
    except DAMAGE as error:
        raise PackError(f"{path} is damaged: {error}") from error


def _outputs_of(archive: NpzFile) -> dict[int, set[str]]:
    outputs: dict[int, set[str]] = {}
    for key in archive.files:
        index, name = key.split("/", 1)
        outputs.setdefault(int(index), set()).add(name)
    return dict(sorted(outputs.items()))


def _check_pair(reference: npt.NDArray[Any], candidate: npt.NDArray[Any], where: str) -> Pair:
    if reference.shape != candidate.shape:
        raise PackError(
            f"output {where}: the candidate's shape is {list(candidate.shape)}, the source's {list(reference.shape)}"
        )
    if candidate.dtype.kind not in "biuf":
        raise PackError(f"output {where}: the candidate's answer is of type {candidate.dtype}, which is no number")
    if not np.isfinite(reference).all():
        message = f"output {where}: the source model's own answer holds NaN or infinity"
        raise DataError(Diagnostic(message, hint="look for NaN in that sample; if it has none, the model is broken"))
    if not np.isfinite(candidate).all():
        raise PackError(f"output {where}: the candidate's answer holds NaN or infinity")
    return reference.astype(np.float64), candidate.astype(np.float64)
