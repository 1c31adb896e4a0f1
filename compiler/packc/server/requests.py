"""Samples -> the requests that clients of a package send: named tensors with a batch axis in front."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from packc.data.image_folder import read_image_folder
from packc.data.tensor_file import read_tensor_file
from packc.data.text_file import read_text_file
from packc.errors import PackError, UsageError
from packc.package.datatypes import triton_type
from packc.package.golden import GoldenSet
from packc.package.pipelines.choice import ChosenPipeline
from packc.package.pipelines.image import IMAGE
from packc.package.pipelines.text_in_process import TEXT
from packc.samples import Array, RawSamples, Sample, load_samples
from packc.tensors import TensorSpec

GENERATED_TEXT = b"The quick brown fox jumps over the lazy dog near the river bank."
GENERATED_LENGTH = 16
"""Of axes that may have any size."""
MAX_CURL_LENGTH = 2000


def make_requests(pipeline: ChosenPipeline, raw: RawSamples, tensors: Path | None) -> Iterator[Sample]:
    """One request a sample: its text, its encoded image, or (pipeline "none") its tensors from the samples file.

    Raises PackError for a pipeline "none" without `tensors`.
    """
    match pipeline:
        case "text":
            return (_string_request(TEXT.name, text.encode()) for text in raw.texts)
        case "image":
            return (_string_request(IMAGE.name, path.read_bytes()) for path in raw.images)
        case "none":
            if tensors is None:
                raise PackError("a model that takes tensors needs a samples file to make requests from")
            return iter(load_samples(tensors))


def golden_requests(golden: GoldenSet) -> list[Sample]:
    """The golden requests of a package, one sample each."""
    if golden.pipeline == "none":
        return list(golden.tensors)
    return list(make_requests(golden.pipeline, RawSamples("golden", texts=golden.texts, images=golden.images), None))


def read_requests(path: Path, inputs: Sequence[TensorSpec]) -> list[Sample]:
    """One request a sample in `path`: texts (.jsonl, .csv), a folder of images, or tensors (.npz), for a model with
    these `inputs`.

    Raises DataError when the file is malformed, UsageError when it holds another kind than the model takes.
    """
    if not path.exists():
        raise UsageError(f"there are no data at {path}")
    if path.suffix == ".npz":
        tensors = read_tensor_file(path).tensors
        assert tensors is not None, "that is what it reads"
        return list(load_samples(tensors))
    if [tensor.dtype for tensor in inputs] != ["object"]:
        names = ", ".join(tensor.name for tensor in inputs)
        raise UsageError(f"{path} is not what the model takes: it takes tensors ({names})", hint="give an .npz file")
    raw = read_image_folder(path) if path.is_dir() else read_text_file(path)
    contents = [text.encode() for text in raw.texts] or [image.read_bytes() for image in raw.images]
    return [_string_request(inputs[0].name, content) for content in contents]


def generate_request(inputs: Sequence[TensorSpec]) -> Sample:
    """A request of one sample made up from the model's inputs: a sentence, ones for integers, noise for the rest."""
    generator = np.random.default_rng(0)
    request: dict[str, Array] = {}
    for tensor in inputs:
        sizes = {"batch": 1, "any": GENERATED_LENGTH}
        shape = tuple(sizes[size] if isinstance(size, str) else size for size in tensor.shape)
        if tensor.dtype == "object":
            request[tensor.name] = np.full(shape, GENERATED_TEXT, dtype=object)
        elif tensor.dtype.startswith("float"):
            request[tensor.name] = generator.standard_normal(shape).astype(tensor.dtype)
        else:
            request[tensor.name] = np.ones(shape, dtype=tensor.dtype)
    return request


def batch_requests(requests: Sequence[Sample], batch: int) -> list[Sample]:
    """Requests of `batch` samples each, every sample in at least one of them.

    Only samples of equal shape can share a request; where those do not fill the last one, the first are taken again.
    """
    if batch == 1:
        return list(requests)
    alike: dict[tuple[object, ...], list[Sample]] = {}
    for request in requests:
        alike.setdefault(tuple((name, array.shape) for name, array in sorted(request.items())), []).append(request)
    batches: list[Sample] = []
    for group in alike.values():
        for start in range(0, len(group), batch):
            members = [group[(start + i) % len(group)] for i in range(batch)]
            batches.append({name: np.concatenate([member[name] for member in members]) for name in members[0]})
    return batches


def write_curl(http_url: str, model: str, request: Sample) -> str | None:
    """A command that sends `request` as JSON; None when it holds no text or numbers, or is too long to be read."""
    inputs = []
    for name, array in request.items():
        try:
            data = (
                [item.decode() for item in array.ravel().tolist()] if array.dtype == object else array.ravel().tolist()
            )
        except UnicodeDecodeError:
            return None
        datatype = triton_type(name, array.dtype.name).removeprefix("TYPE_").replace("STRING", "BYTES")
        inputs.append({"name": name, "shape": list(array.shape), "datatype": datatype, "data": data})
    body = json.dumps({"inputs": inputs}, ensure_ascii=False)
    if len(body) > MAX_CURL_LENGTH:
        return None
    return f"curl -s {http_url}/v2/models/{model}/infer -d {shlex.quote(body)}"


def _string_request(name: str, content: bytes) -> dict[str, Array]:
    return {name: np.array([[content]], dtype=object)}
