from __future__ import annotations

import json
from pathlib import Path

import pytest

from engines import make_stamp
from lint_cases import Case, check_case, run_rule
from packc.package.lint import engines
from packc.tensors import TensorSpec

X, Y = TensorSpec("x", "int64", ("batch", "any")), TensorSpec("y", "float32", ("batch", 2))
STAMP = make_stamp([X], [Y], ["x=1x1/1x8/1x8", "x=1x1/4x32/4x32"])
HEAD = 'backend: "tensorrt"\n'
FILES = {"m/1/model.plan": b"engine", "m/1/model.json": json.dumps(STAMP)}


def config(batch: int = 4, x: str = "TYPE_INT32 dims: -1", y: str = "y", profile: int = 1) -> str:
    return (
        f'{HEAD}max_batch_size: {batch}\ninput {{ name: "x" data_type: {x} }}\n'
        f'output {{ name: "{y}" data_type: TYPE_FP32 dims: 2 }}\n'
        f'instance_group {{ kind: KIND_GPU profile: "{profile}" }}'
    )


GOOD = config()
BATCHES = "the profiles of 1/model.plan take batches up to 4"
NUMBERS = "1/model.plan has 2 profile(s), counted from 0"
CASES = [
    Case(engines.check_profile_batch, config(batch=8), BATCHES, "2:17", GOOD),
    Case(engines.check_profile_numbers, config(profile=2), NUMBERS, "5:42", GOOD),
    Case(
        engines.check_profile_dims,
        config(x="TYPE_INT32 dims: 64"),
        'the profiles of 1/model.plan take "x" from [1] to [8], [1] to [32]',
        "3:47",
        GOOD,
    ),
    Case(
        engines.check_bindings,
        config(x="TYPE_INT64 dims: -1"),
        '"x" is TYPE_INT32 in 1/model.plan, not TYPE_INT64',
        "3:30",
        GOOD,
    ),
    Case(engines.check_bindings, config(y="z"), '1/model.plan has no output "z"', "4:16", GOOD),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=str)
def test_cases(tmp_path: Path, case: Case) -> None:
    check_case(case, tmp_path, files=FILES)


def test_the_input_that_takes_the_fewest_limits_the_batch_of_a_profile(tmp_path: Path) -> None:
    stamp = {**STAMP, "profiles": ["x=1x1/1x8/2x8 z=1x1/1x8/8x8", "x=1x1/1x8/8x8 z=1x1/1x8/3x8"]}
    files = {**FILES, "m/1/model.json": json.dumps(stamp)}
    (found,) = run_rule(engines.check_profile_batch, tmp_path / "bad", GOOD, files=files)
    assert found.message == "the profiles of 1/model.plan take batches up to 3"
    assert not run_rule(engines.check_profile_batch, tmp_path / "good", config(batch=3), files=files)


def test_without_batching_all_axes_are_dims(tmp_path: Path) -> None:
    whole = config(batch=0, x="TYPE_INT32 dims: [ 2, 64 ]")
    assert list(run_rule(engines.check_profile_dims, tmp_path / "bad", whole, files=FILES))
    fits = config(batch=0, x="TYPE_INT32 dims: [ 2, 32 ]")
    assert not list(run_rule(engines.check_profile_dims, tmp_path / "good", fits, files=FILES))


@pytest.mark.parametrize("stamp", [None, "{}", json.dumps({**STAMP, "profiles": ["x="]})])
def test_an_engine_without_a_stamp_is_spoken_of_once(tmp_path: Path, stamp: str | None) -> None:
    files = {"m/1/model.plan": b"engine", **({"m/1/model.json": stamp} if stamp else {})}
    ours = GOOD + '\nparameters { key: "requirement" value { string_value: "tensorrt==8.6.0" } }'
    (found,) = run_rule(engines.check_stamp, tmp_path, ours, files=files)
    assert found.severity == "warning"
    assert not run_rule(engines.check_stamp, tmp_path / "theirs", GOOD, files=files), "nobody else writes stamps"
    for number, rule in enumerate((engines.check_profile_batch, engines.check_profile_dims)):
        assert not run_rule(rule, tmp_path / str(number), config(batch=64), files=files)


def test_other_backends_have_no_engines(tmp_path: Path) -> None:
    assert not run_rule(engines.check_stamp, tmp_path, GOOD.replace('"tensorrt"', '"onnxruntime"'), files=FILES)
