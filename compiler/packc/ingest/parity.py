"""Compares an exported graph with its source, at several shapes, before anything else is done with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from packc.errors import SourceError
from packc.ingest.reference import Reference, TorchReference
from packc.ingest.source import SourceInfo, TextPreprocessing
from packc.samples import Array, Sample

TOLERANCE = 1e-3
"""Largest difference, relative to the largest magnitude of the output."""

LONGEST_COMPARED = 512
"""Tokens: longer limits are compared at this length, to bound the cost."""

_PADDED_LENGTHS = (12, 7, 3)
_FIRST_TOKEN, _LAST_TOKEN = 5, 100
"""Ids that are no padding and in most vocabularies; of a smaller one (characters, amino acids) its own ids."""


@dataclass(frozen=True, slots=True)
class Probe:
    """Inputs at one shape, and what the source answers to them."""

    name: str
    inputs: Sample
    answers: Sample


def make_probes(reference: TorchReference, info: SourceInfo) -> list[Probe]:
    """Answers of the source at batch 1, at batch 3 (padded where it reads text) and at its largest length."""
    text = info.preprocessing if isinstance(info.preprocessing, TextPreprocessing) else None
    if text is None:
        shapes = [("batch 1", _tensor_inputs(reference, 1)), ("batch 3", _tensor_inputs(reference, 3))]
        if len(reference.dynamic) > 1:
            shapes.append(("another length", _tensor_inputs(reference, 1, longer=0.37)))
    else:
        longest = min(text.max_length, LONGEST_COMPARED)
        padded = [min(length, text.max_length) for length in _PADDED_LENGTHS]
        shapes = [
            ("batch 1", _token_inputs(text, [min(8, text.max_length)])),
            ("batch 3 with padding", _token_inputs(text, padded)),
            (f"length {longest}", _token_inputs(text, [longest])),
        ]
    return [Probe(name, inputs, reference.answer(inputs)) for name, inputs in shapes]


def compare_export(exported: Reference, probes: Sequence[Probe]) -> float:
    """Largest absolute difference between the graph and its source over `probes`.

    Raises SourceError when one is above TOLERANCE of its output's magnitude, or when shapes differ.
    """
    worst = 0.0
    for probe in probes:
        try:
            found = exported.answer(probe.inputs)
        except Exception as error:
            raise SourceError(f"the exported graph fails at {probe.name}: {error}") from error
        for name, expected in probe.answers.items():
            worst = max(worst, _difference(probe.name, name, np.asarray(expected), found[name]))
    return worst


def _difference(probe: str, output: str, expected: Array, found: Array) -> float:
    if expected.shape != found.shape:
        raise SourceError(
            f"the exported graph differs from the source: {output} at {probe} has the shape {list(found.shape)}, "
            f"not {list(expected.shape)}"
        )
    wanted, got = expected.astype(np.float64), found.astype(np.float64)
    error = float(np.max(np.abs(wanted - got), initial=0.0))
    scale = float(np.max(np.abs(wanted), initial=0.0)) or 1.0
    if not error <= TOLERANCE * scale:  # also when NaN
        raise SourceError(
            f"the exported graph differs from the source: {output} at {probe} is off by {error:.3g}, "
            f"{error / scale:.3g} of its magnitude ({TOLERANCE:g} is allowed)",
            hint="the model probably branches on its input's values or shape, which an export freezes",
        )
    return error


def _token_inputs(text: TextPreprocessing, lengths: Sequence[int]) -> dict[str, Array]:
    """Random tokens, row i of `lengths[i]` tokens and then padding."""
    from tokenizers import Tokenizer

    generator = np.random.default_rng(0)
    known = Tokenizer.from_file(str(text.tokenizer)).get_vocab_size() if text.tokenizer.is_file() else _LAST_TOKEN
    mask = (np.arange(max(lengths)) < np.array(lengths)[:, None]).astype(np.int64)
    tokens = generator.integers(_FIRST_TOKEN, min(_LAST_TOKEN, known), mask.shape, dtype=np.int64)
    made = {
        "input_ids": np.where(mask == 1, tokens, text.pad_id).astype(np.int64),
        "attention_mask": mask,
        "token_type_ids": np.zeros_like(mask),
    }
    return {name: made[name] for name in text.inputs}


def _tensor_inputs(reference: TorchReference, batch: int, longer: float = 0.0) -> dict[str, Array]:
    """Tensors like the example's: normal floats of its spread, integers from within its range.

    Axes that vary, the batch aside, are `longer` than the example's by that share.
    """
    generator = np.random.default_rng(batch)
    examples = {name: value.numpy() for name, value in reference.example.items()}
    made: dict[str, Array] = {}
    for name, value in examples.items():
        sizes = [
            int(size * (1 + longer)) if axis in reference.dynamic else size for axis, size in enumerate(value.shape)
        ]
        made[name] = draw_like(value, (batch, *sizes[1:]), generator)
    return made


def draw_like(example: npt.NDArray[Any], shape: tuple[int, ...], generator: np.random.Generator) -> Array:
    """A random array of `shape` with the dtype and the spread of `example`."""
    if example.dtype.kind == "b":
        return generator.random(shape) < 0.5
    if example.dtype.kind in "iu":
        return generator.integers(example.min(), example.max(), shape, endpoint=True).astype(example.dtype)
    spread = float(np.std(example)) or 1.0
    return (float(np.mean(example)) + spread * generator.standard_normal(shape)).astype(example.dtype)
