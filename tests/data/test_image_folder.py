from __future__ import annotations

from pathlib import Path

import pytest

from models import write_smooth_images
from packc.data.image_folder import read_image_folder
from packc.errors import DataError


def test_flat_folder_has_no_labels(tmp_path: Path) -> None:
    write_smooth_images(tmp_path, 3)
    (tmp_path / "notes.txt").write_text("")
    samples = read_image_folder(tmp_path)
    assert [image.name for image in samples.images] == ["0000.png", "0001.png", "0002.png"]
    assert samples.labels == ()


def test_sub_folders_are_classes(tmp_path: Path) -> None:
    write_smooth_images(tmp_path / "dog", 2)
    write_smooth_images(tmp_path / "cat", 1)
    write_smooth_images(tmp_path / ".thumbnails", 1)
    samples = read_image_folder(tmp_path)
    assert samples.labels == ("cat", "dog", "dog")
    assert [image.parent.name for image in samples.images] == ["cat", "dog", "dog"]


def test_no_images(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="has no images"):
        read_image_folder(tmp_path)


def test_flat_and_classes(tmp_path: Path) -> None:
    write_smooth_images(tmp_path, 1)
    write_smooth_images(tmp_path / "cat", 2)
    with pytest.raises(DataError, match="has 1 images of its own and 2 in sub-folders"):
        read_image_folder(tmp_path)
