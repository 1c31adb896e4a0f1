"""Our image steps against transformers' own processors: equality, on sizes that do not divide evenly."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from checkpoints import VIT_CONFIG, write_vit_folder
from models import write_smooth_images
from packc.ingest.image_input import load_image
from packc.ingest.preprocessing import read_image_preprocessing

PROCESSORS: dict[str, dict[str, Any]] = {
    "vit": {},
    "convnext": {"image_processor_type": "ConvNextImageProcessor", "size": {"shortest_edge": 32}},
    "convnext_large": {"image_processor_type": "ConvNextImageProcessor", "size": {"shortest_edge": 384}},
    "clip": {
        "image_processor_type": "CLIPImageProcessor",
        "size": {"shortest_edge": 37},
        "crop_size": {"height": 32, "width": 32},
    },
    "siglip": {"image_processor_type": "SiglipImageProcessor"},
    "no_normalize": {"do_normalize": False},
}


@pytest.mark.parametrize("size", [(47, 40), (40, 61), (32, 32)])
@pytest.mark.parametrize("name", PROCESSORS)
def test_equals_the_processor_of_transformers(name: str, size: tuple[int, int], tmp_path: Path) -> None:
    from transformers import AutoImageProcessor

    folder = write_vit_folder(tmp_path / name, **PROCESSORS[name])
    how = read_image_preprocessing(folder, VIT_CONFIG)
    processor = AutoImageProcessor.from_pretrained(folder)
    for path in write_smooth_images(tmp_path / "images", 2, size).glob("*.png"):
        expected = processor(Image.open(path).convert("RGB"), return_tensors="np")["pixel_values"][0]
        np.testing.assert_allclose(load_image(path, how), expected, atol=1e-6)


def test_grey_image_for_a_model_of_colours(tmp_path: Path) -> None:
    how = read_image_preprocessing(write_vit_folder(tmp_path / "vit"), VIT_CONFIG)
    Image.fromarray(np.full((8, 8), 255, np.uint8)).save(tmp_path / "white.png")
    pixels = load_image(tmp_path / "white.png", how)
    assert pixels.shape == (3, 32, 32)
    assert pixels.dtype == np.float32
    np.testing.assert_allclose(pixels, 1.0)
