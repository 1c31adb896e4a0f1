from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from goldens import check_golden
from models import write_smooth_images
from package_parts import SERVING, StubRuntime, make_image_preprocessing, make_image_source
from packc.ingest.image_input import load_image
from packc.ingest.source import ImagePreprocessing
from packc.package.model_config import print_config
from packc.package.pipelines.image import build_image_models
from packc.package.pipelines.tensors import Ingredients
from packc.package.pipelines.triton_model import TritonModel, write_models
from python_backend import load_model, strings


def build(folder: Path, preprocessing: ImagePreprocessing) -> tuple[TritonModel, ...]:
    source = make_image_source(folder, preprocessing, ("cat", "dog"))
    ingredients = Ingredients(
        "tiny", source, {"model.onnx": source.graph}, StubRuntime(), SERVING, warmup=(), cache=False
    )
    return build_image_models(ingredients, preprocessing)


def test_configs(tmp_path: Path) -> None:
    models = build(tmp_path, make_image_preprocessing())
    assert [model.name for model in models] == ["tiny", "tiny-preprocess", "tiny-model", "tiny-labels"]
    for model in models:
        check_golden(f"package/image/{model.name}.pbtxt", print_config(model.config))


@pytest.mark.parametrize("shortest_edge", [None, 20])
def test_preprocess_source(tmp_path: Path, shortest_edge: int | None) -> None:
    models = build(tmp_path, make_image_preprocessing(shortest_edge))
    name = "preprocess_crop.py" if shortest_edge else "preprocess.py"
    check_golden(f"package/image/{name}", str(models[1].files["1/model.py"]))


@pytest.mark.parametrize("size", [(48, 40), (31, 77), (16, 12)])
@pytest.mark.parametrize(("shortest_edge", "channels"), [(None, 3), (20, 3), (None, 1), (17, 1)])
def test_pixels_are_those_that_the_model_was_judged_on(
    tmp_path: Path, shortest_edge: int | None, channels: int, size: tuple[int, int]
) -> None:
    how = make_image_preprocessing(shortest_edge, channels)
    write_models(build(tmp_path / "source", how), tmp_path / "repository")
    images = sorted(write_smooth_images(tmp_path / "images", 2, size).iterdir())
    with load_model(tmp_path / "repository/tiny-preprocess/1/model.py") as call:
        (answer,) = call({"image": strings(*(image.read_bytes() for image in images))})
    pixels = answer["pixel_values"]
    assert pixels.dtype == np.float32
    assert pixels.shape == (2, channels, 12, 16)
    np.testing.assert_array_equal(pixels, np.stack([load_image(image, how) for image in images]))


def test_palette_and_transparency_are_decoded(tmp_path: Path) -> None:
    how = make_image_preprocessing()
    write_models(build(tmp_path / "source", how), tmp_path / "repository")
    buffers = []
    for mode in ("P", "RGBA", "L"):
        buffers.append(io.BytesIO())
        Image.new(mode, (30, 30), 7 if mode != "RGBA" else (9, 9, 9, 0)).save(buffers[-1], "PNG")
    with load_model(tmp_path / "repository/tiny-preprocess/1/model.py") as call:
        (answer,) = call({"image": strings(*(buffer.getvalue() for buffer in buffers))})
    assert answer["pixel_values"].shape == (3, 3, 12, 16)


def test_an_unreadable_image_fails_its_own_request_alone(tmp_path: Path) -> None:
    write_models(build(tmp_path / "source", make_image_preprocessing()), tmp_path / "repository")
    good = next(write_smooth_images(tmp_path / "images", 1).iterdir()).read_bytes()
    with load_model(tmp_path / "repository/tiny-preprocess/1/model.py") as call:
        fine, text, cut = call(
            {"image": strings(good)}, {"image": strings(b"no image")}, {"image": strings(good[: len(good) // 2])}
        )
    assert fine.error is None
    assert text.error == "the image is in no format that Pillow reads"
    assert cut.error is not None
    assert cut.error.startswith("the image cannot be read: ")
