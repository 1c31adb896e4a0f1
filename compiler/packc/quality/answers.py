"""Reads a candidate's answers beside the source model's, sample by sample, and refuses what cannot be compared."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from numpy.lib.npyio import NpzFile

from packc.errors import DataError, Diagnostic, PackError

Values = npt.NDArray[np.float64]
Pair = tuple[Values, Values]

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

    Raises PackError when samples or outputs are missing, shapes differ, or the candidate's answer holds NaN or
    infinity; DataError when the source model's own does.
    """
    with np.load(reference, allow_pickle=False) as ours, np.load(candidate, allow_pickle=False) as theirs:
        expected, found = _outputs_of(ours), _outputs_of(theirs)
        if len(found) != len(expected):
            raise PackError(f"the candidate answered {len(found)} samples of {len(expected)}")
        for index, available in expected.items():
            names = judged_outputs(output, tuple(available))
            for who, outputs in (("the source model", available), ("the candidate", found.get(index, set()))):
                for name in names:
                    if name not in outputs:
                        raise PackError(f"{who} gave no output {name!r} for sample {index}")
            yield tuple(
                _check_pair(ours[f"{index}/{n}"], theirs[f"{index}/{n}"], f"{n!r}, sample {index}") for n in names
            )


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
    if not np.isfinite(reference).all():
        message = f"output {where}: the source model's own answer holds NaN or infinity"
        raise DataError(Diagnostic(message, hint="look for NaN in that sample; if it has none, the model is broken"))
    if not np.isfinite(candidate).all():
        raise PackError(f"output {where}: the candidate's answer holds NaN or infinity")
    return reference.astype(np.float64), candidate.astype(np.float64)
