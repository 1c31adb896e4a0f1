from __future__ import annotations

from pathlib import Path

import pytest

from lint_cases import TENSORS, Case, check_case, run_rule
from packc.package.lint import tensors

BATCH = "max_batch_size: 8\n"


def x(fields: str, before: str = "") -> str:
    """An input "x" with `fields`."""
    return f'{before}input {{ name: "x" {fields} }}'


CASES = [
    Case(tensors.check_tensors_written, TENSORS.split("\n")[0], "no output is written", "1:1", TENSORS),
    Case(tensors.check_tensor_names, "input { dims: 1 }", "an input has no name", "1:1", x("")),
    Case(
        tensors.check_tensor_names,
        'input { name: "x" }\ninput { name: "x" }',
        'two inputs are called "x"',
        "2:15",
        'input { name: "x" }\noutput { name: "x" }',
    ),
    Case(
        tensors.check_tensor_names,
        'backend: "pytorch"\noutput { name: "logits" }',
        '"logits" names no position',
        "2:16",
        'backend: "pytorch"\noutput { name: "logits__0" }',
    ),
    Case(tensors.check_types, x(""), 'input "x" has no data_type', "1:1", x("data_type: TYPE_INT64")),
    Case(
        tensors.check_types,
        x("data_type: TYPE_STRING", 'backend: "tensorrt"\n'),
        "TensorRT has no TYPE_STRING",
        "2:30",
        x("data_type: TYPE_INT32", 'backend: "tensorrt"\n'),
    ),
    Case(
        tensors.check_types,
        x("data_type: TYPE_BF16"),
        "numpy has no bfloat16, so clients must pack these values themselves",
        "1:30",
        x("data_type: TYPE_FP16"),
        "warning",
    ),
    Case(tensors.check_dims, x("dims: [ ]"), 'input "x" has no dims', "1:19", x("dims: [ 1 ]")),
    Case(tensors.check_dims, x("dims: [ 3, 0 ]"), "0 is not a size", "1:30", x("dims: [ 3, -1 ]")),
    Case(tensors.check_dims, x("dims: [ -2 ]"), "-2 is not a size", "1:27", x("dims: [ 2 ]")),
    Case(
        tensors.check_dims,
        x("dims: 1 reshape { shape: [ 0 ] }"),
        "0 is not a size",
        "1:46",
        x("dims: 1 reshape { shape: [ ] }"),
    ),
    Case(
        tensors.check_reshape,
        x("dims: 1 reshape { }"),
        "an empty shape needs max_batch_size above 0: scalars cannot be served",
        "1:27",
        x("dims: 1 reshape { }", BATCH),
    ),
    Case(
        tensors.check_reshape,
        x("dims: [ 2, -1, 6 ] reshape { shape: [ -1, 2, 6 ] }"),
        "dims [2, -1, 6] and shape [-1, 2, 6] differ in their number of elements",
        "1:38",
        x("dims: [ 2, 4, -1, 6 ] reshape { shape: [ 8, -1, 1, 6 ] }"),
    ),
    Case(
        tensors.check_formats,
        x("format: FORMAT_NHWC dims: [ 3, 4 ]"),
        "an image format needs 3 dims, not 2",
        "1:27",
        x("format: FORMAT_NHWC dims: [ 8, 8, 3 ]"),
    ),
    Case(
        tensors.check_formats,
        x("is_shape_tensor: true", 'backend: "onnxruntime"\n'),
        "is_shape_tensor is for TensorRT alone",
        "2:36",
        x("is_shape_tensor: true", 'backend: "tensorrt"\n'),
    ),
    Case(
        tensors.check_formats,
        x("is_non_linear_format_io: true dims: 3", 'backend: "tensorrt"\n'),
        "it needs 3 dims, not 1",
        "2:44",
        x("is_non_linear_format_io: true dims: [ 3, 4, 4 ]", 'backend: "tensorrt"\n'),
    ),
    Case(
        tensors.check_ragged,
        x("allow_ragged_batch: true"),
        "samples are joined without their lengths, so the model cannot tell them apart",
        "1:39",
        x("allow_ragged_batch: true") + '\nbatch_input { source_input: "x" }',
        "warning",
    ),
    Case(
        tensors.check_ragged,
        x("") + '\nbatch_input { source_input: "z" }',
        'there is no input "z"',
        "2:29",
        x("") + '\nbatch_input { source_input: "x" }',
    ),
    Case(tensors.check_ragged, x("") + "\nbatch_input { }", "a batch_input has one source_input", "2:1", x("")),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_cases(tmp_path: Path, case: Case) -> None:
    check_case(case, tmp_path)


def test_both_sides_missing(tmp_path: Path) -> None:
    found = run_rule(tensors.check_tensors_written, tmp_path, "")
    assert [d.message for d in found] == ["no input is written", "no output is written"]
