"""Rules about warm-up: a warm-up that fails keeps its model from ever being ready."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from packc.errors import Diagnostic
from packc.package.datatypes import ELEMENT_BYTES
from packc.package.lint.positions import FieldPath
from packc.package.lint.repository import LintedModel, Repository
from packc.package.lint.tensors import type_name


def check_warmup_inputs(model: LintedModel, _: Repository) -> Iterator[Diagnostic]:
    """A warm-up gives every input, in the type and shape that the model takes, without the batch."""
    declared = {tensor.name: tensor for tensor in model.config.input}
    for i, warmup in enumerate(model.config.model_warmup):
        for name in sorted(set(declared) - set(warmup.inputs)):
            if not declared[name].optional:
                yield model.error(("model_warmup", i), f'the warm-up lacks input "{name}"')
        for name in sorted(warmup.inputs):
            path = model.entry(("model_warmup", i, "inputs"), name)
            if name not in declared:
                yield model.error((*path, "key"), f'the model has no input "{name}"')
            else:
                yield from _check_input(model, path, warmup.inputs[name], declared[name])


def _check_input(model: LintedModel, path: FieldPath, given: Any, declared: Any) -> Iterator[Diagnostic]:
    value: FieldPath = (*path, "value", 0)
    if given.data_type != declared.data_type:
        yield model.error(
            (*value, "data_type"), f"the input is {type_name(declared.data_type)}, not {type_name(given.data_type)}"
        )
    if any(size < 1 for size in given.dims):
        yield model.error((*value, "dims"), f"dims {list(given.dims)} must all be given for a warm-up")
    elif not fits(given.dims, declared.dims):
        yield model.error(
            (*value, "dims"),
            f"dims {list(given.dims)} do not fit the input's {list(declared.dims)}",
            "leave the batch out: it is batch_size" if model.is_batched else None,
        )


def check_warmup_data(model: LintedModel, _: Repository) -> Iterator[Diagnostic]:
    """A warm-up's data exist, in the right number of bytes."""
    for i, warmup in enumerate(model.config.model_warmup):
        for name in sorted(warmup.inputs):
            given = warmup.inputs[name]
            value: FieldPath = (*model.entry(("model_warmup", i, "inputs"), name), "value", 0)
            kind = given.WhichOneof("input_data_type")
            if kind is None:
                hint = "add zero_data: true, random_data: true or input_data_file"
                yield model.error(value, f'input "{name}" of the warm-up has no data', hint)
            elif kind == "random_data" and type_name(given.data_type) == "TYPE_STRING":
                yield model.warning((*value, "random_data"), "there are no random strings: these will be empty ones")
            elif kind == "input_data_file":
                path = model.folder / "warmup" / given.input_data_file
                if problem := _check_file(path, given):
                    yield model.error((*value, "input_data_file"), problem)


def check_warmup_batch(model: LintedModel, _: Repository) -> Iterator[Diagnostic]:
    """A warm-up's batch is one that the model takes."""
    largest = max(1, model.config.max_batch_size)
    for i, warmup in enumerate(model.config.model_warmup):
        where: FieldPath = ("model_warmup", i, "batch_size")
        if warmup.batch_size == 0:
            yield model.warning(where, "batch_size 0 skips the warm-up", "write batch_size: 1")
        elif warmup.batch_size > largest:
            yield model.error(where, f"batch_size {warmup.batch_size} exceeds the model's {largest}")


def fits(sizes: Sequence[int], allowed: Sequence[int]) -> bool:
    """Whether `sizes` is a shape that `allowed`, with its -1s, admits."""
    return len(sizes) == len(allowed) and all(a in (-1, s) for s, a in zip(sizes, allowed, strict=True))


def _check_file(path: Path, given: Any) -> str | None:
    if not path.is_file():
        return f"warmup/{path.name} is missing"
    elements, data_type = math.prod(given.dims), type_name(given.data_type)
    if data_type == "TYPE_STRING":
        found = _count_strings(path.read_bytes())
        return None if found == elements else f"warmup/{path.name} holds {found} strings, dims ask for {elements}"
    expected, size = elements * ELEMENT_BYTES.get(data_type, 0), path.stat().st_size
    return None if size == expected else f"warmup/{path.name} has {size} bytes, type and dims ask for {expected}"


def _count_strings(content: bytes) -> int | str:
    """Strings in Triton's raw form: each has its length in 4 bytes before it."""
    count = position = 0
    while position < len(content):
        position += 4 + int.from_bytes(content[position : position + 4], "little")
        count += 1
    return count if position == len(content) else "broken"
