"""Reads samples as people keep them: text in JSONL or CSV, folders of images, tensors in .npz."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from packc.data.image_folder import read_image_folder
from packc.data.tensor_file import read_tensor_file
from packc.data.text_file import read_text_file
from packc.errors import DataError, Diagnostic
from packc.ingest.source import ImagePreprocessing, SourceInfo, TextPreprocessing
from packc.samples import RawSamples


def read_samples(path: Path, info: SourceInfo) -> RawSamples:
    """The samples in `path`, of the kind that the model reads. Raises DataError with a diagnostic for each mistake.

    text     .jsonl, one {"text"[, "text_pair"][, "label"]} a line; .csv with those columns; a pair is joined by a tab
    images   a folder of image files, or one with a sub-folder for each class
    tensors  .npz, in the layout of packc.samples or one array for each input (and "label") along a common axis 0
    """
    if not path.exists():
        raise DataError(Diagnostic(f"there are no data at {path}", hint="paths are relative to the spec file"))
    if isinstance(info.preprocessing, TextPreprocessing):
        _expect(path, path.suffix in (".jsonl", ".csv") and path.is_file(), "text", "a .jsonl or .csv file")
        samples = read_text_file(path)
    elif isinstance(info.preprocessing, ImagePreprocessing):
        _expect(path, path.is_dir(), "images", "a folder of image files")
        samples = read_image_folder(path)
    else:
        _expect(path, path.suffix == ".npz" and path.is_file(), "tensors", "an .npz file")
        samples = read_tensor_file(path)
    _check_labels(samples, info)
    return samples


def mark_pairs(info: SourceInfo, *samples: RawSamples | None) -> SourceInfo:
    """`info`, its texts told to be pairs when any of the samples is one: only then does a tab separate two texts."""
    text = info.preprocessing
    if not isinstance(text, TextPreprocessing):
        return info
    pairs = any("\t" in sample for part in samples if part for sample in part.texts)
    return replace(info, preprocessing=replace(text, pairs=pairs))


def _expect(path: Path, fits: bool, kind: str, form: str) -> None:
    if not fits:
        raise DataError(Diagnostic(f"{path}: the model reads {kind}, so its data are {form}"))


def _check_labels(samples: RawSamples, info: SourceInfo) -> None:
    """Every label must be one of the model's classes, by name or by index."""
    if not info.labels or not samples.labels:
        return
    known = {*info.labels, *(str(i) for i in range(len(info.labels)))}
    unknown = sorted(set(samples.labels) - known)
    if unknown:
        shown = ", ".join(repr(label) for label in unknown[:5]) + (" ..." if len(unknown) > 5 else "")
        what = "label is" if len(unknown) == 1 else "labels are"
        classes = ", ".join(info.labels[:10]) + (" ..." if len(info.labels) > 10 else "")
        raise DataError(
            Diagnostic(
                f"{samples.origin}: {len(unknown)} {what} no class of the model: {shown}",
                hint=f"its classes are {classes}; an index from 0 to {len(info.labels) - 1} will do too",
            )
        )
