"""Turns raw samples into a model's tensors with the source's own tokenizer or image processor, in the worker process.

What is packed later (tokenizer.json, the image steps of ImagePreprocessing) must give the very same tensors; both are
run here, on every sample, and a difference is an error.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from packc.errors import DataError, Diagnostic, SourceError
from packc.ingest.image_input import load_image
from packc.ingest.parity import draw_like
from packc.ingest.source import AudioInput, ImagePreprocessing, SourceInfo, TextPreprocessing
from packc.samples import Array, RawSamples, iter_samples
from packc.tensors import TensorSpec

DRAWN_SAMPLES = 128
"""How many samples are drawn for a model of tensors when there are no data."""

DRAWN_AXIS = 16
"""Size given to a dynamic axis other than the batch when samples are drawn."""

PIXEL_TOLERANCE = 1e-4

SHOWN_MISTAKES = 10

Inputs = Iterator[dict[str, Array]]


def make_inputs(raw: RawSamples, info: SourceInfo, specs: Sequence[TensorSpec], seed: int) -> Inputs:
    """The tensors of each sample, made one at a time: batch axis 1, exact lengths, the types of `specs`.

    `specs` are the graph's inputs; generated samples of a model that takes tensors are drawn from them. Raises
    DataError for samples that do not fit the model, SourceError when pack cannot repeat the source's own preprocessing.
    """
    how = info.preprocessing
    if raw.tensors is not None:
        return _check_tensors(raw.tensors, raw.origin, specs)
    if isinstance(how, TextPreprocessing) and raw.texts:
        return _tokenize(raw.texts, how, info, specs)
    if isinstance(how, ImagePreprocessing) and raw.images:
        return _load_images(raw.images, how, info, specs)
    if (how is None or isinstance(how, AudioInput)) and raw.is_generated:
        generator = np.random.default_rng(seed)
        size = how.typical if how else DRAWN_AXIS
        return (_draw_sample(specs, generator, size) for _ in range(DRAWN_SAMPLES))
    raise DataError(Diagnostic(f"{raw.origin}: the samples are of another kind than the model reads"))


def _tokenize(texts: Sequence[str], how: TextPreprocessing, info: SourceInfo, specs: Sequence[TensorSpec]) -> Inputs:
    from tokenizers import Tokenizer
    from transformers import AutoTokenizer

    own = AutoTokenizer.from_pretrained(
        info.location if info.origin == "huggingface" else how.tokenizer.parent,
        trust_remote_code=info.trust_remote_code,
        local_files_only=True,
    )
    packed = Tokenizer.from_file(str(how.tokenizer))
    packed.no_padding()
    packed.enable_truncation(how.max_length)
    dtypes = {spec.name: spec.dtype for spec in specs}
    for text in texts:
        pair = how.split(text)
        encoded = own(*pair, truncation=True, max_length=how.max_length, return_token_type_ids=True)
        plain = packed.encode(*pair)
        made = {"input_ids": plain.ids, "attention_mask": plain.attention_mask, "token_type_ids": plain.type_ids}
        for name in how.inputs:
            if list(encoded[name]) != made[name]:
                raise SourceError(
                    f"{how.tokenizer} and the model's AutoTokenizer disagree on {name} of {text[:60]!r}",
                    hint="write tokenizer.json again: AutoTokenizer.from_pretrained(folder).save_pretrained(folder)",
                )
        yield {name: np.array([made[name]], dtype=dtypes[name]) for name in how.inputs}


def _load_images(
    paths: Sequence[Path], how: ImagePreprocessing, info: SourceInfo, specs: Sequence[TensorSpec]
) -> Inputs:
    from PIL import Image
    from transformers import AutoImageProcessor

    own = AutoImageProcessor.from_pretrained(
        info.location if info.origin == "huggingface" else Path(info.location).parent,
        local_files_only=True,
        backend="pil",  # what the server has; torchvision, which is preferred where it is installed, resizes otherwise
    )
    dtypes = {spec.name: spec.dtype for spec in specs}
    for path in paths:
        try:
            pixels = load_image(path, how)
            with Image.open(path) as opened:
                image = opened.convert("L" if how.channels == 1 else "RGB")
        except OSError as error:
            raise DataError(Diagnostic(f"{path} is not a readable image: {error}")) from error
        expected = np.asarray(own(image, return_tensors="np")["pixel_values"][0])
        if expected.shape != pixels.shape or float(np.abs(expected - pixels).max()) > PIXEL_TOLERANCE:
            raise SourceError(
                f"pack cannot repeat the model's {type(own).__name__}: its pixels of {path.name} differ",
                hint="export the model to .onnx and send it tensors",
            )
        yield {how.input: pixels[None].astype(dtypes[how.input])}


def _check_tensors(path: Path, origin: str, specs: Sequence[TensorSpec]) -> Inputs:
    """The samples in `path` when each has exactly the inputs of the graph, with their types and shapes."""
    mistakes: dict[str, list[int]] = {}
    try:
        for i, sample in enumerate(iter_samples(path)):
            if mistake := _find_mistake(sample, specs):
                mistakes.setdefault(mistake, []).append(i)
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise DataError(Diagnostic(f"{origin} is not a samples file: {error}")) from error
    if mistakes:
        takes = ", ".join(f"{spec.name} {spec.dtype} {list(spec.shape)}" for spec in specs)
        found = [f"{origin}: {_name_samples(indices)}: {mistake}" for mistake, indices in mistakes.items()]
        rest = [f"and {len(found) - SHOWN_MISTAKES} more such mistakes"] if len(found) > SHOWN_MISTAKES else []
        *first, last = (*found[:SHOWN_MISTAKES], *rest)
        raise DataError(*map(Diagnostic, first), Diagnostic(last, hint=f"the model takes {takes}"))
    return iter_samples(path)


def _name_samples(indices: Sequence[int]) -> str:
    return f"sample {indices[0]}" + (f" and {len(indices) - 1} more" if len(indices) > 1 else "")


def _find_mistake(sample: dict[str, Array], specs: Sequence[TensorSpec]) -> str | None:
    names = [spec.name for spec in specs]
    if set(sample) != set(names):
        return f"it has {sorted(sample)}, not {sorted(names)}"
    for spec in specs:
        array = sample[spec.name]
        if str(array.dtype) != spec.dtype:
            return f"{spec.name} is {array.dtype}, not {spec.dtype}"
        wanted = (1, *spec.shape[1:]) if spec.is_batched else spec.shape
        fits = len(wanted) == array.ndim and all(
            isinstance(dim, str) or dim == size for dim, size in zip(wanted, array.shape, strict=True)
        )
        if not fits:
            return f"{spec.name} has the shape {list(array.shape)}, not {list(wanted)}"
    return None


def _draw_sample(specs: Sequence[TensorSpec], generator: np.random.Generator, size: int) -> dict[str, Array]:
    """Normal floats, and integers 0 and 1: small enough for any table that they may index."""
    return {spec.name: _draw(spec, generator, size) for spec in specs}


def _draw(spec: TensorSpec, generator: np.random.Generator, size: int) -> Array:
    shape = tuple(1 if dim == "batch" else size if isinstance(dim, str) else dim for dim in spec.shape)
    if spec.dtype == "object":
        raise SourceError(f"no samples can be generated for the string input {spec.name!r}", hint="give [quality] data")
    example: Any = np.array([0, 1], dtype=spec.dtype)
    if example.dtype.kind == "f":
        example = np.array([-1, 1], dtype=spec.dtype)
    return draw_like(example, shape, generator)
