"""What turns text or images into a checkpoint's tensors, read from the files that lie beside its weights."""

from __future__ import annotations

import re
from pathlib import Path

from packc.errors import SourceError
from packc.ingest.config import Config, read_config
from packc.ingest.source import ImagePreprocessing, TextPreprocessing

POSITION_OFFSET_MODELS = frozenset(
    {"roberta", "xlm-roberta", "xlm-roberta-xl", "camembert", "roberta-prelayernorm", "data2vec-text", "mpnet", "xmod"}
)
"""Model types whose positions start after the padding id, so that the first rows of the table are never used."""

_BILINEAR, _BICUBIC = 2, 3
_HALF = [0.5, 0.5, 0.5]
_IMAGENET = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
_OPENAI = ([0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711])
_CLIP_DEFAULTS: Config = {
    "size": {"shortest_edge": 224},
    "crop_size": {"height": 224, "width": 224},
    "do_center_crop": True,
    "resample": _BICUBIC,
    "image_mean": _OPENAI[0],
    "image_std": _OPENAI[1],
}
PROCESSOR_DEFAULTS: dict[str, Config] = {
    "ViT": {"size": {"height": 224, "width": 224}, "resample": _BILINEAR, "image_mean": _HALF, "image_std": _HALF},
    "ConvNext": {
        "size": {"shortest_edge": 384},
        "crop_pct": 224 / 256,
        "resample": _BICUBIC,
        "image_mean": _HALF,
        "image_std": _HALF,
    },
    "Bit": _CLIP_DEFAULTS,
    "CLIP": _CLIP_DEFAULTS,
    "Siglip": {"size": {"height": 224, "width": 224}, "resample": _BICUBIC, "image_mean": _HALF, "image_std": _HALF},
    "Pvt": {
        "size": {"height": 224, "width": 224},
        "resample": _BICUBIC,
        "image_mean": _IMAGENET[0],
        "image_std": _IMAGENET[1],
    },
}
"""What transformers' image processors do with the keys that preprocessor_config.json leaves out."""


def read_text_preprocessing(folder: Path, config: Config, max_length: int | None = None) -> TextPreprocessing:
    """How `folder`'s own tokenizer feeds its model; `max_length` (tokens) is the limit that wraps it, if any.

    Raises SourceError when there is no tokenizer.json.
    """
    tokenizer = folder / "tokenizer.json"
    if not tokenizer.is_file():
        raise SourceError(
            f"{folder} has no tokenizer.json",
            hint="write one once: AutoTokenizer.from_pretrained(folder).save_pretrained(folder)",
        )
    settings = read_config(folder / "tokenizer_config.json")
    names = settings.get("model_input_names")
    with_types = "token_type_ids" in names if isinstance(names, list) else int(config.get("type_vocab_size") or 0) > 1
    return TextPreprocessing(
        tokenizer=tokenizer,
        max_length=_max_length(config, settings, max_length),
        pad_id=int(config.get("pad_token_id") or 0),
        pads_left=_pads_left(tokenizer),
        inputs=("input_ids", "attention_mask", *(("token_type_ids",) if with_types else ())),
    )


def _pads_left(tokenizer: Path) -> bool:
    """As the file itself says, which is what the packed tokenizer does; right where it says nothing."""
    padding = read_config(tokenizer).get("padding")
    return isinstance(padding, dict) and str(padding.get("direction")).lower() == "left"


def _max_length(config: Config, settings: Config, wanted: int | None) -> int:
    """The smallest of the limits in tokens that the model's positions, its tokenizer and its wrapper set."""
    positions = config.get("max_position_embeddings") or config.get("n_positions")
    if isinstance(positions, int) and config.get("model_type") in POSITION_OFFSET_MODELS:
        positions -= int(config.get("pad_token_id") or 0) + 1
    tokenizer_limit = settings.get("model_max_length")
    limits = [wanted if wanted is not None else tokenizer_limit, positions]
    known = [int(limit) for limit in limits if isinstance(limit, int | float) and 0 < limit < 1_000_000]
    return min(known, default=512)


def read_image_preprocessing(folder: Path, config: Config) -> ImagePreprocessing:
    """How `folder`'s own image processor feeds its model. Raises SourceError when it does what pack cannot repeat."""
    path = folder / "preprocessor_config.json"
    settings = read_config(path)
    if not settings:
        raise SourceError(
            f"{folder} has no preprocessor_config.json, so pack cannot tell how images become its tensors",
            hint="write one: AutoImageProcessor.from_pretrained(base_model).save_pretrained(folder)",
        )
    kind = str(settings.get("image_processor_type") or settings.get("feature_extractor_type") or "")
    family = re.sub(r"(ImageProcessor|FeatureExtractor)(Fast|Pil)?$", "", kind)
    known = PROCESSOR_DEFAULTS.get(family, {})
    values = {**known, **{key: value for key, value in settings.items() if value is not None}}
    if not values.get("do_resize", True) or "size" not in values:
        raise _unsupported(path, f"{kind or 'the processor'} does not resize to a fixed size")
    channels = int(config.get("num_channels") or 3)
    shortest, height, width = _sizes(path, values)
    rescale = float(values.get("rescale_factor", 1 / 255)) if values.get("do_rescale", True) else 1.0
    normalizes = bool(values.get("do_normalize", True))
    return ImagePreprocessing(
        channels=channels,
        height=height,
        width=width,
        resize_shortest_edge=shortest,
        resample=int(values.get("resample", _BILINEAR)),
        rescale=rescale,
        mean=_per_channel(path, values, "image_mean", channels) if normalizes else (0.0,) * channels,
        std=_per_channel(path, values, "image_std", channels) if normalizes else (1.0,) * channels,
        input="pixel_values",
    )


def _sizes(path: Path, values: Config) -> tuple[int | None, int, int]:
    """(shortest edge to resize to or None, height, width of the tensor)."""
    size = values["size"]
    if isinstance(size, int):
        size = {"shortest_edge": size} if values.get("do_center_crop") else {"height": size, "width": size}
    shortest = size.get("shortest_edge")
    crops = bool(values.get("do_center_crop", False))
    if crops and shortest is not None:
        crop = values.get("crop_size", shortest)
        height, width = (crop, crop) if isinstance(crop, int) else (crop["height"], crop["width"])
        if max(height, width) > shortest:
            raise _unsupported(path, f"it crops {height} x {width} from images with a shorter edge of {shortest}")
        return shortest, height, width
    if shortest is not None and "crop_pct" in values:
        return (int(shortest / values["crop_pct"]) if shortest < 384 else None), shortest, shortest
    if {"height", "width"} <= set(size) and (not crops or values.get("crop_size") == size):
        return None, size["height"], size["width"]
    raise _unsupported(path, f"size {dict(size)}" + (f", then crop {values.get('crop_size')}" if crops else ""))


def _per_channel(path: Path, values: Config, key: str, channels: int) -> tuple[float, ...]:
    value = values.get(key)
    numbers = [value] * channels if isinstance(value, int | float) else value
    if not isinstance(numbers, list | tuple) or len(numbers) != channels:
        raise _unsupported(path, f"{key} has not {channels} values, one a channel")
    return tuple(float(number) for number in numbers)


def _unsupported(path: Path, what: str) -> SourceError:
    return SourceError(
        f"{path}: this image preprocessing cannot be repeated by pack: {what}",
        hint="pack repeats: resize to a fixed size, or by the shorter edge with a centre crop; rescale; mean and std. "
        "Export the model to .onnx and send it tensors otherwise",
    )
