"""Golden requests: what a client sends to the package, and what it must get back.

golden/requests.json        {"schema", "pipeline", "requests"}: texts, or image files in golden/
golden/inputs.npz           the requests of pipeline "none"
golden/answers.npz          what the chosen artifact answers, under the names that clients see
golden/source_answers.npz   what the source model answers, likewise
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from pydantic import TypeAdapter, ValidationError

from packc.errors import DataError, Diagnostic, PackError
from packc.ingest.source import SourceModel
from packc.package.engine_stamp import cast_samples
from packc.package.pipelines.choice import ChosenPipeline
from packc.package.pipelines.labels import class_names
from packc.package.pipelines.tensors import CLASSIFIERS, name_answer
from packc.samples import Array, RawSamples, Sample, count_saved, iter_samples, load_samples, save_samples
from packc.tensors import TensorSpec

SCHEMA = 1
MAX_REQUESTS = 16


@dataclass(frozen=True, slots=True)
class GoldenSet:
    """Requests of one sample each, with their answers; exactly one of texts, images and tensors is filled."""

    pipeline: ChosenPipeline
    answers: Sequence[Sample]
    """Of the chosen artifact, by the output's name in the served model: `embedding` [1, size], `label` and `score`
    [1, 1], or the graph's own answer. The batch axis is 1."""
    source_answers: Sequence[Sample]
    """Of the source model, in the same form."""
    texts: tuple[str, ...] = ()
    images: tuple[Path, ...] = ()
    tensors: Sequence[Sample] = ()
    """Inputs of the graph by name, batch axis 1."""


@dataclass(frozen=True, slots=True)
class _RequestsFile:
    schema: int
    pipeline: ChosenPipeline
    requests: tuple[str, ...]


def find_golden(package: Path, target: str | None = None) -> Path:
    """Where the golden requests are; of a combined package, those of one `target`, which has its own where it was
    measured apart."""
    own = package / "targets" / (target or "") / "golden"
    return own if target is not None and own.is_dir() else package / "golden"


def make_golden(
    pipeline: ChosenPipeline, source: SourceModel, raw: RawSamples, inputs: Path, answers: Path, source_answers: Path
) -> GoldenSet:
    """At most MAX_REQUESTS samples, spread evenly over the evaluation data.

    `inputs`, `answers` and `source_answers` are samples files whose sample i belongs to sample i of `raw`.
    Raises DataError when the data are of another kind than the pipeline's clients send.
    """
    count = min(count_saved(answers), count_saved(source_answers))
    chosen = sorted({int(i) for i in np.linspace(0, count - 1, min(count, MAX_REQUESTS))})
    served = [_serve(pipeline, source, answer) for answer in iter_samples(answers, chosen)]
    served_source = [_serve(pipeline, source, answer) for answer in iter_samples(source_answers, chosen)]
    if pipeline == "none":
        return GoldenSet(pipeline, served, served_source, tensors=load_samples(inputs, chosen))
    kept = raw.texts if pipeline == "text" else raw.images
    if len(kept) < count:
        raise DataError(
            Diagnostic(
                f"{raw.origin} holds no {pipeline}s, but clients of this package send {pipeline}s",
                hint=f'give {pipeline} samples under [quality] data, or set pipeline = "none" under [serve]',
            )
        )
    if pipeline == "text":
        return GoldenSet(pipeline, served, served_source, texts=tuple(raw.texts[i] for i in chosen))
    return GoldenSet(pipeline, served, served_source, images=tuple(raw.images[i] for i in chosen))


def write_golden(folder: Path, golden: GoldenSet) -> None:
    """Writes the files of this module's docstring into `folder`, which is made."""
    folder.mkdir()
    requests = list(golden.texts)
    for i, image in enumerate(golden.images):
        requests.append(f"images/{i:04}{image.suffix}")
        (folder / "images").mkdir(exist_ok=True)
        shutil.copyfile(image, folder / requests[-1])
    document = {"schema": SCHEMA, "pipeline": golden.pipeline, "requests": requests}
    (folder / "requests.json").write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n")
    if golden.tensors:
        save_samples(folder / "inputs.npz", golden.tensors)
    save_samples(folder / "answers.npz", golden.answers)
    save_samples(folder / "source_answers.npz", golden.source_answers)


def load_golden(folder: Path) -> GoldenSet:
    """Reads what `write_golden` wrote. Raises PackError when it is not there or of another form."""
    try:
        text = (folder / "requests.json").read_text()
        file = TypeAdapter(_RequestsFile).validate_json(text)
        answers, source_answers = load_samples(folder / "answers.npz"), load_samples(folder / "source_answers.npz")
        tensors = load_samples(folder / "inputs.npz") if file.pipeline == "none" else []
    except (OSError, ValidationError, ValueError, KeyError) as error:
        raise PackError(f"the golden requests in {folder} cannot be read: {error}", hint="build it again") from error
    if file.pipeline == "image":
        _check_names(folder, file.requests)
    if file.schema != SCHEMA:
        raise PackError(
            f"{folder / 'requests.json'} has schema {file.schema}, this pack reads {SCHEMA}", hint="build it again"
        )
    return GoldenSet(
        file.pipeline,
        answers,
        source_answers,
        texts=file.requests if file.pipeline == "text" else (),
        images=tuple(folder / name for name in file.requests) if file.pipeline == "image" else (),
        tensors=tensors,
    )


def cast_golden(golden: GoldenSet, inputs: Sequence[TensorSpec]) -> GoldenSet:
    """The same requests, tensors among them in the element types of the served `inputs`."""
    return replace(golden, tensors=cast_samples(golden.tensors, inputs))


def match_types(requests: Iterable[Sample], golden: GoldenSet) -> Iterator[Sample]:
    """The requests, tensors in the element types of the golden ones: those that the served model takes."""
    types = {name: array.dtype for sample in golden.tensors[:1] for name, array in sample.items()}
    for request in requests:
        yield {name: array.astype(types.get(name, array.dtype), copy=False) for name, array in request.items()}


def _check_names(folder: Path, names: Sequence[str]) -> None:
    """Raises PackError for a file outside `folder`: a package may come from anybody."""
    root = folder.resolve()
    for name in names:
        if not (folder / name).resolve().is_relative_to(root):
            raise PackError(f"{folder / 'requests.json'} names a file outside the package: {name}")


def _serve(pipeline: ChosenPipeline, source: SourceModel, answer: Mapping[str, Array]) -> dict[str, Array]:
    """One sample's outputs of the graph as clients of the pipeline get them."""
    value = answer[source.answer]
    if pipeline == "none":
        return {source.answer: value}
    if source.info.task not in CLASSIFIERS:
        return {name_answer(source.info.task): value}
    logits = np.asarray(value, dtype=np.float32)
    best = int(logits[0].argmax())
    if logits.shape[1] == 1:
        score = 1 / (1 + np.exp(-logits[0, 0]))
    else:
        powers = np.exp(logits[0] - logits[0].max())
        score = powers[best] / powers.sum()
    return {"label": np.array([[class_names(source)[best]]]), "score": np.array([[score]], dtype=np.float32)}
