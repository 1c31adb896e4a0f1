"""Reads folders of encoded images; sub-folders are classes."""

from __future__ import annotations

from pathlib import Path

from packc.errors import DataError, Diagnostic
from packc.samples import RawSamples

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp"})


def read_image_folder(folder: Path) -> RawSamples:
    """The images in `folder`, in the order of their names; each sub-folder's name is the label of its images.

    Raises DataError when there are none, and when some lie in sub-folders and some do not. Files that are no images by
    their name are left out; whether the others can be decoded is seen when they are used.
    """
    flat = _images(folder)
    classes = sorted(entry for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    labelled = [(image, entry.name) for entry in classes for image in _images(entry)]
    if flat and labelled:
        raise DataError(
            Diagnostic(
                f"{folder} has {len(flat)} images of its own and {len(labelled)} in sub-folders",
                hint="either all images lie in sub-folders named after their class, or none do",
            )
        )
    if not flat and not labelled:
        raise DataError(Diagnostic(f"{folder} has no images ({', '.join(sorted(IMAGE_SUFFIXES))})"))
    images = tuple(flat) if flat else tuple(image for image, _ in labelled)
    return RawSamples(origin=str(folder), images=images, labels=tuple(label for _, label in labelled))


def _images(folder: Path) -> list[Path]:
    return sorted(file for file in folder.iterdir() if file.suffix.lower() in IMAGE_SUFFIXES and file.is_file())
