"""Samples -> the requests that clients of a package send: named tensors with a batch axis in front."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from packc.errors import PackError
from packc.package.golden import GoldenSet
from packc.package.pipelines.choice import ChosenPipeline
from packc.package.pipelines.image import IMAGE
from packc.package.pipelines.text import TEXT
from packc.samples import Array, RawSamples, Sample, load_samples


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


def _string_request(name: str, content: bytes) -> dict[str, Array]:
    return {name: np.array([[content]], dtype=object)}
