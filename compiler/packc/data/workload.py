"""The shapes at which latency is measured, and tensors of exactly those shapes made of real samples."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import numpy as np

from packc.data.read import read_samples
from packc.ingest.source import SourceInfo, SourceModel, TextPreprocessing
from packc.samples import Array, RawSamples, iter_samples, save_samples
from packc.spec.model import Range, TargetSpec
from packc.tensors import InputRange, ShapeCase, TensorSpec

log = logging.getLogger(__name__)

LENGTH_STEP = 8
"""Lengths taken from data are rounded up to a multiple of this many tokens."""

CURVE_QUANTILES = (10, 50, 90, 100)
"""Of the lengths of requests: where a curve is measured; between them it is taken to be straight."""


def workload_cases(spec: TargetSpec, inputs: Path, info: SourceInfo) -> tuple[ShapeCase, ...]:
    """The "typical" and the "max" case of the workload, in this order.

    Lengths (tokens) are those of the spec; else the median and the 99th percentile of its workload data, or of the
    evaluation inputs in the samples file `inputs`. No length is above what the model reads.
    """
    batch, text = spec.workload.batch, info.preprocessing
    if not isinstance(text, TextPreprocessing):
        if spec.workload.sequence:
            log.warning("workload.sequence says nothing here: the model reads no text")
        return (ShapeCase("typical", batch.typical, None), ShapeCase("max", batch.max, None))
    sequence = spec.workload.sequence or _measure_lengths(spec, inputs, info, text)
    if sequence.max > text.max_length:
        log.warning(
            "the model reads %d tokens, workload.sequence.max is %d: longer texts are cut",
            text.max_length,
            sequence.max,
        )
    return (
        ShapeCase("typical", batch.typical, min(sequence.typical, text.max_length)),
        ShapeCase("max", batch.max, min(sequence.max, text.max_length)),
    )


def measure_ranges(
    source: SourceModel, cases: Sequence[ShapeCase], most_batch: int, inputs: Path
) -> tuple[InputRange, ...]:
    """The shapes that each input has to be served in: from one sample to `most_batch`, those of `cases` in between.

    `cases` are those of `workload_cases`. Texts have any length up to what the model reads, as clients may send any and
    longer ones are cut. Other open axes are as the samples file `inputs` has them, with a line in the log: nothing else
    is known of them.
    """
    text = source.info.preprocessing
    seen = None if isinstance(text, TextPreprocessing) else _list_shapes(source.inputs, inputs)
    ranges = []
    for tensor in source.inputs:
        least, most = [], []
        middle: list[list[int]] = [[] for _ in cases]
        for axis, size in enumerate(tensor.shape):
            if isinstance(size, int):
                low, usual, high = size, [size] * len(cases), size
            elif size == "batch":
                low, usual = 1, [case.batch for case in cases]
                high = max(most_batch, *usual)
            elif isinstance(text, TextPreprocessing):
                low, usual, high = 1, [case.sequence or text.max_length for case in cases], text.max_length
            else:
                assert seen is not None, "shapes of anything but texts were read"
                found = sorted(shape[axis] for shape in seen[tensor.name])
                low, usual, high = found[0], [found[len(found) // 2]] * len(cases), found[-1]
                if low < high:
                    log.warning("%s: sizes %d to %d of axis %r are served, as in the evaluation data", tensor.name,
                                low, high, size)  # fmt: skip
            least.append(low)
            most.append(high)
            for shape, number in zip(middle, usual, strict=True):
                shape.append(number)
        ranges.append(InputRange(tensor.name, tuple(least), tuple(tuple(shape) for shape in middle), tuple(most)))
    return tuple(ranges)


def _list_shapes(tensors: Sequence[TensorSpec], inputs: Path) -> dict[str, set[tuple[int, ...]]]:
    """Input -> the shapes that it has in the samples file; not looked at where only the batch is open."""
    open_names = [t.name for t in tensors if any(isinstance(size, str) and size != "batch" for size in t.shape)]
    shapes: dict[str, set[tuple[int, ...]]] = {name: set() for name in open_names}
    for sample in iter_samples(inputs) if open_names else ():
        for name in open_names:
            shapes[name].add(sample[name].shape)
    return shapes


def _measure_lengths(spec: TargetSpec, inputs: Path, info: SourceInfo, text: TextPreprocessing) -> Range:
    if spec.workload.data:
        lengths = count_tokens(read_samples(Path(spec.workload.data), info).texts, text)
    else:
        lengths = [sample[text.inputs[0]].shape[1] for sample in iter_samples(inputs)]
    typical, largest = (_round_up(float(np.percentile(lengths, q)), text.max_length) for q in (50, 99))
    return Range(typical=typical, max=largest)


def _round_up(length: float, limit: int) -> int:
    return min(int(-(-length // LENGTH_STEP)) * LENGTH_STEP, limit)


def list_request_lengths(
    spec: TargetSpec, inputs: Path, info: SourceInfo, traffic: RawSamples | None
) -> tuple[int, ...]:
    """Tokens of each request that a load test sends, (0,) where the model reads no text.

    A request holds `workload.batch.typical` samples, padded to the longest of them.
    """
    text = info.preprocessing
    if not isinstance(text, TextPreprocessing):
        return (0,)
    if traffic is not None and traffic.texts:
        lengths = count_tokens(traffic.texts, text)
    else:
        lengths = [sample[text.inputs[0]].shape[1] for sample in iter_samples(inputs)]
    batch = spec.workload.batch.typical
    return tuple(max(lengths[i : i + batch]) for i in range(0, len(lengths), batch))


def curve_cases(batches: Sequence[int], lengths: Sequence[int]) -> tuple[ShapeCase, ...]:
    """The shapes of a curve: each of `batches` with the short, usual and long ones of `lengths` ((0,) for none)."""
    if max(lengths) == 0:
        return tuple(ShapeCase(f"{batch}", batch, None) for batch in batches)
    quantiles = np.percentile(lengths, CURVE_QUANTILES)
    sequences = sorted({_round_up(float(q), max(lengths)) for q in quantiles})
    return tuple(ShapeCase(f"{batch}x{length}", batch, length) for batch in batches for length in sequences)


def count_tokens(texts: Sequence[str], how: TextPreprocessing) -> list[int]:
    """Length of each text in tokens, special tokens included, cut at the model's limit."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(how.tokenizer))
    tokenizer.no_padding()
    tokenizer.enable_truncation(how.max_length)
    return [len(tokenizer.encode(*how.split(text)).ids) for text in texts]


def make_latency_inputs(cases: Sequence[ShapeCase], inputs: Path, source: SourceModel, out: Path) -> None:
    """Writes one sample a case to the samples file `out`: real tensors of exactly `batch` x `sequence`, no padding.

    Token rows are cut from the samples in `inputs` laid end to end; other tensors are stacked, over and over.
    """
    save_samples(out, (_make_case(case, inputs, source) for case in cases))


def _make_case(case: ShapeCase, inputs: Path, source: SourceModel) -> dict[str, Array]:
    """Made of no more samples than the case could take: one a row, or one a token."""
    samples = list(islice(iter_samples(inputs), case.batch * (case.sequence or 1)))
    made: dict[str, Array] = {}
    for spec in source.inputs:
        arrays = [sample[spec.name] for sample in samples]
        if case.sequence is None:
            made[spec.name] = _stack(arrays, case.batch, spec)
        else:
            made[spec.name] = _make_tokens(spec, [array[0] for array in arrays], (case.batch, case.sequence))
    return made


def _make_tokens(spec: TensorSpec, rows: Sequence[Array], shape: tuple[int, int]) -> Array:
    """`shape` tokens; each row keeps the first and the last token (the special ones) of a sample."""
    if spec.name != "input_ids":
        return np.full(shape, 1 if spec.name == "attention_mask" else 0, dtype=spec.dtype)
    body = np.concatenate([row[1:-1] for row in rows if len(row) > 2] or list(rows))
    tokens: Array = np.resize(body, shape).astype(spec.dtype)
    if shape[1] > 2:
        tokens[:, 0], tokens[:, -1] = rows[0][0], rows[0][-1]
    return tokens


def _stack(arrays: Sequence[Array], batch: int, spec: TensorSpec) -> Array:
    """`batch` samples of the shape that the first one has; the first one alone when the model takes no batch."""
    if not spec.is_batched:
        return arrays[0]
    alike = [array for array in arrays if array.shape == arrays[0].shape]
    return np.concatenate([alike[i % len(alike)] for i in range(batch)])
