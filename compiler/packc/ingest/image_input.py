"""Turns an encoded image into the tensor that a model reads, exactly as its own image processor does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from packc.ingest.source import ImagePreprocessing


def load_image(path: Path, how: ImagePreprocessing) -> npt.NDArray[np.float32]:
    """The image at `path` as float32 [channels, height, width]. Raises OSError when it cannot be decoded."""
    from PIL import Image

    with Image.open(path) as opened:
        image = opened.convert("L" if how.channels == 1 else "RGB")
    if how.resize_shortest_edge is None:
        image = image.resize((how.width, how.height), how.resample)
    else:
        image = image.resize(_scaled_size(image.size, how.resize_shortest_edge), how.resample)
        left, top = (image.width - how.width) // 2, (image.height - how.height) // 2
        image = image.crop((left, top, left + how.width, top + how.height))
    pixels = np.asarray(image, dtype=np.float64).reshape(how.height, how.width, how.channels)
    scaled = (pixels * how.rescale).astype(np.float32)
    normalized = (scaled - np.asarray(how.mean, np.float32)) / np.asarray(how.std, np.float32)
    return np.ascontiguousarray(normalized.transpose(2, 0, 1))


def _scaled_size(size: tuple[int, int], shortest_edge: int) -> tuple[int, int]:
    """(width, height) whose shorter edge is `shortest_edge`, proportions kept, the longer edge rounded down."""
    width, height = size
    if width <= height:
        return shortest_edge, int(shortest_edge * height / width)
    return int(shortest_edge * width / height), shortest_edge
