"""First step of tiny: encoded images -> pixels. Made by pack."""

import io

import numpy as np
import triton_python_backend_utils as pb_utils
from PIL import Image, UnidentifiedImageError

MODE = "RGB"
HEIGHT, WIDTH = 12, 16
SHORTEST_EDGE = 20
RESAMPLE = Image.Resampling(2)
MEAN = np.array((0.485, 0.456, 0.406), dtype=np.float32)[:, None]
STD = np.array((0.229, 0.224, 0.225), dtype=np.float32)[:, None]
LEVELS = ((np.arange(256) * 0.00392156862745098).astype(np.float32) - MEAN) / STD
"""Value of each of a channel's 256 levels, rescaled and normalised: [channels, 256]."""


class TritonPythonModel:
    """Decode, resize, centre-crop, rescale, normalise."""

    def execute(self, requests):
        """One response a request; an image that cannot be read fails its own request alone."""
        return [self._respond(request) for request in requests]

    def _respond(self, request):
        images = pb_utils.get_input_tensor_by_name(request, "image").as_numpy().ravel()
        try:
            pixels = np.stack([read_pixels(data) for data in images])
        except UnidentifiedImageError:
            return _refuse("the image is in no format that Pillow reads")
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            return _refuse(f"the image cannot be read: {error}")
        return pb_utils.InferenceResponse([pb_utils.Tensor("pixel_values", pixels)])


def read_pixels(data):
    """Encoded image bytes -> float32 [3, 12, 16]."""
    image = Image.open(io.BytesIO(data)).convert(MODE)
    width, height = image.size
    if width <= height:
        size = SHORTEST_EDGE, int(SHORTEST_EDGE * height / width)
    else:
        size = int(SHORTEST_EDGE * width / height), SHORTEST_EDGE
    image = image.resize(size, RESAMPLE)
    left, top = (image.width - WIDTH) // 2, (image.height - HEIGHT) // 2
    image = image.crop((left, top, left + WIDTH, top + HEIGHT))
    levels = np.asarray(image).reshape(HEIGHT, WIDTH, 3)
    return np.stack([values[levels[:, :, channel]] for channel, values in enumerate(LEVELS)])


def _refuse(message):
    return pb_utils.InferenceResponse(error=pb_utils.TritonError(message, pb_utils.TritonError.INVALID_ARG))
