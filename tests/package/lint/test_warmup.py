from __future__ import annotations

from pathlib import Path

import pytest

from lint_cases import Case, check_case
from packc.package.lint import warmup

HEAD = 'max_batch_size: 4\ninput { name: "x" data_type: TYPE_FP32 dims: [ -1, 2 ] }\n'
TEXT = 'input { name: "t" data_type: TYPE_STRING dims: 2 }\n'
FILES = {
    "m/warmup/24": bytes(24),
    "m/warmup/20": bytes(20),
    "m/warmup/strings": b"\x01\x00\x00\x00a\x00\x00\x00\x00",
    "m/warmup/broken": b"\x09\x00\x00\x00a",
}


def warm(value: str, batch: str = "batch_size: 1", key: str = "x", head: str = HEAD) -> str:
    return f'{head}model_warmup {{ {batch}\ninputs {{ key: "{key}" value {{ {value} }} }} }}'


GOOD = warm("data_type: TYPE_FP32 dims: [ 3, 2 ] zero_data: true")


CASES = [
    Case(warmup.check_warmup_inputs, HEAD + "model_warmup { }", 'the warm-up lacks input "x"', "3:1", GOOD),
    Case(
        warmup.check_warmup_inputs,
        warm("data_type: TYPE_FP64 dims: [ 3, 2 ]"),
        "the input is TYPE_FP32, not TYPE_FP64",
        "4:38",
        GOOD,
    ),
    Case(
        warmup.check_warmup_inputs,
        warm("data_type: TYPE_FP32 dims: [ 1, 3, 2 ]"),
        "dims [1, 3, 2] do not fit the input's [-1, 2]",
        "4:56",
        GOOD,
    ),
    Case(
        warmup.check_warmup_inputs,
        warm("data_type: TYPE_FP32 dims: [ -1, 2 ]"),
        "dims [-1, 2] must all be given for a warm-up",
        "4:56",
        GOOD,
    ),
    Case(
        warmup.check_warmup_data,
        warm("data_type: TYPE_FP32 dims: [ 3, 2 ]"),
        'input "x" of the warm-up has no data',
        "4:19",
        GOOD,
    ),
    Case(
        warmup.check_warmup_data,
        warm("data_type: TYPE_STRING dims: 2 random_data: true", key="t", head=TEXT),
        "there are no random strings: these will be empty ones",
        "3:71",
        warm("data_type: TYPE_STRING dims: 2 zero_data: true", key="t", head=TEXT),
        "warning",
    ),
    Case(
        warmup.check_warmup_data,
        warm('data_type: TYPE_FP32 dims: [ 3, 2 ] input_data_file: "none"'),
        "warmup/none is missing",
        "4:80",
        warm('data_type: TYPE_FP32 dims: [ 3, 2 ] input_data_file: "24"'),
    ),
    Case(
        warmup.check_warmup_data,
        warm('data_type: TYPE_FP32 dims: [ 3, 2 ] input_data_file: "20"'),
        "warmup/20 has 20 bytes, type and dims ask for 24",
        "4:80",
        warm('data_type: TYPE_FP32 dims: [ 3, 2 ] input_data_file: "24"'),
    ),
    Case(
        warmup.check_warmup_data,
        warm('data_type: TYPE_STRING dims: 3 input_data_file: "strings"', key="t", head=TEXT),
        "warmup/strings holds 2 strings, dims ask for 3",
        "3:75",
        warm('data_type: TYPE_STRING dims: 2 input_data_file: "strings"', key="t", head=TEXT),
    ),
    Case(
        warmup.check_warmup_data,
        warm('data_type: TYPE_STRING dims: 1 input_data_file: "broken"', key="t", head=TEXT),
        "warmup/broken holds broken strings, dims ask for 1",
        "3:75",
        GOOD,
    ),
    Case(
        warmup.check_warmup_batch,
        warm("", "batch_size: 5"),
        "batch_size 5 exceeds the model's 4",
        "3:28",
        warm("", "batch_size: 4"),
    ),
    Case(
        warmup.check_warmup_batch,
        warm("", "batch_size: 0"),
        "batch_size 0 skips the warm-up",
        "3:28",
        warm("", "batch_size: 1"),
        "warning",
    ),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_cases(tmp_path: Path, case: Case) -> None:
    check_case(case, tmp_path, files=FILES)


def test_an_input_that_the_model_lacks(tmp_path: Path) -> None:
    bad = (
        GOOD
        + '\nmodel_warmup { inputs { key: "x" value { data_type: TYPE_FP32 dims: [ 1, 2 ] } } inputs { key: "z" } }'
    )
    case = Case(warmup.check_warmup_inputs, bad, 'the model has no input "z"', "5:96", GOOD)
    check_case(case, tmp_path)
