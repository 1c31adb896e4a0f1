from __future__ import annotations

from pathlib import Path

import pytest

from lint_cases import Case, check_case, run_rule
from packc.package.lint import ensemble

OTHERS = {
    "first": 'max_batch_size: 8\ninput { name: "a" data_type: TYPE_STRING dims: 1 }\n'
    'output { name: "b" data_type: TYPE_INT64 dims: -1 }\noutput { name: "extra" data_type: TYPE_INT64 dims: -1 }',
    "second": 'max_batch_size: 4\ninput { name: "c" data_type: TYPE_INT64 dims: -1 }\n'
    'output { name: "d" data_type: TYPE_FP32 dims: 3 }',
    "wide": 'max_batch_size: 8\ninput { name: "c" data_type: TYPE_INT64 dims: [ -1, 2 ] }\n'
    'output { name: "d" data_type: TYPE_FP32 dims: 3 }',
    "unbatched": 'input { name: "c" data_type: TYPE_INT64 dims: [ -1, -1 ] }\n'
    'output { name: "d" data_type: TYPE_FP32 dims: [ -1, 3 ] }',
    "stream": "model_transaction_policy { decoupled: true }\n"
    'input { name: "c" data_type: TYPE_INT64 dims: [ -1, -1 ] }\n'
    'output { name: "d" data_type: TYPE_FP32 dims: [ -1, 3 ] }',
}
GOOD = """platform: "ensemble"
max_batch_size: 4
input { name: "text" data_type: TYPE_STRING dims: 1 }
output { name: "vector" data_type: TYPE_FP32 dims: 3 }
ensemble_scheduling {
  step {
    model_name: "first" model_version: -1
    input_map { key: "a" value: "text" }
    output_map { key: "b" value: "ids" }
  }
  step {
    model_name: "second" model_version: 1
    input_map { key: "c" value: "ids" }
    output_map { key: "d" value: "vector" }
  }
}
"""
TENSORLESS = 'platform: "ensemble"\n'


def but(old: str, new: str) -> str:
    assert old in GOOD
    return GOOD.replace(old, new)


CASES = [
    Case(
        ensemble.check_ensemble_form,
        but('"ensemble"', '"onnxruntime_onnx"'),
        'a model with ensemble_scheduling has platform: "ensemble"',
        "1:11",
        GOOD,
    ),
    Case(
        ensemble.check_ensemble_form,
        but("max_batch", 'backend: "python"\nmax_batch'),
        "an ensemble has no backend",
        "2:10",
        GOOD,
    ),
    Case(ensemble.check_ensemble_form, TENSORLESS, "the ensemble has no step", "1:1", GOOD),
    Case(
        ensemble.check_ensemble_form,
        GOOD + "instance_group [ { count: 1 } ]",
        "an ensemble has no instance_group",
        "17:18",
        GOOD,
    ),
    Case(
        ensemble.check_ensemble_form,
        GOOD + "model_warmup { }",
        "an ensemble has no model_warmup",
        "17:1",
        GOOD,
    ),
    Case(
        ensemble.check_ensemble_form,
        GOOD + "optimization { }",
        "an ensemble has no optimization",
        "17:1",
        GOOD,
    ),
    Case(ensemble.check_members, but('"second"', '"thrid"'), 'there is no model "thrid"', "12:17", GOOD),
    Case(ensemble.check_members, but('model_name: "first" ', ""), "a step has no model_name", "6:3", GOOD),
    Case(ensemble.check_members, but("version: 1", "version: 7"), "second has no version 7", "12:41", GOOD),
    Case(
        ensemble.check_member_batches,
        but("size: 4", "size: 8"),
        "max_batch_size 8 exceeds that of second, which is 4",
        "2:17",
        GOOD,
    ),
    Case(
        ensemble.check_step_maps,
        but('key: "b"', 'key: "ids"'),
        'first has no output "ids"',
        "9:23",
        GOOD,
    ),
    Case(
        ensemble.check_step_maps,
        but('    input_map { key: "c" value: "ids" }\n', ""),
        'input "c" of second is not mapped',
        "11:3",
        GOOD,
    ),
    Case(
        ensemble.check_step_maps,
        but('    output_map { key: "d" value: "vector" }\n', ""),
        "the step of second maps no output",
        "11:3",
        GOOD,
    ),
    Case(
        ensemble.check_flow,
        but('name: "vector"', 'name: "vectors"') + 'output { name: "vector" }',
        'no step makes the output "vectors"',
        "4:16",
        GOOD,
    ),
    Case(
        ensemble.check_flow,
        GOOD + 'input { name: "more" }',
        'no step uses the input "more"',
        "17:15",
        GOOD,
    ),
    Case(
        ensemble.check_flow,
        but('"ids" }\n  }', '"ids" }\n    output_map { key: "extra" value: "spare" }\n  }'),
        'nothing uses the tensor "spare"',
        "10:38",
        GOOD,
    ),
    Case(
        ensemble.check_flow,
        but('"ids" }\n  }', '"ids" }\n    output_map { key: "extra" value: "text" }\n  }'),
        'the tensor "text" is made twice',
        "10:38",
        GOOD,
    ),
    Case(
        ensemble.check_flow,
        but('"d" value: "vector"', '"d" value: "vector"').replace(
            'input_map { key: "c" value: "ids" }',
            'input_map { key: "c" value: "ids" }\n    input_map { key: "e" value: "nowhere" }',
        ),
        'nothing makes the tensor "nowhere"',
        "14:33",
        GOOD,
    ),
    Case(
        ensemble.check_wires,
        but("TYPE_STRING", "TYPE_INT64"),
        '"text" is TYPE_STRING for first and TYPE_INT64 for m',
        "8:33",
        GOOD,
    ),
    Case(
        ensemble.check_wires,
        but('"second"', '"wide"'),
        '"ids" is [-1, -1, 2] for wide and [-1, -1] for first (batch included)',
        "13:33",
        but('"second"', '"unbatched"'),  # a model without batching sees the batch as its first axis
    ),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_cases(tmp_path: Path, case: Case) -> None:
    check_case(case, tmp_path, others=OTHERS)


def test_steps_that_wait_for_each_other(tmp_path: Path) -> None:
    circular = but('input_map { key: "a" value: "text" }', 'input_map { key: "a" value: "vector" }')
    found = run_rule(ensemble.check_flow, tmp_path, circular, others=OTHERS)
    assert [d.message for d in found] == [
        'no step uses the input "text"',
        '"vector" is never made: its step waits for another that does not run',
        '"ids" is never made: its step waits for another that does not run',
    ]


def test_a_stream_without_a_limit(tmp_path: Path) -> None:
    limit = "ensemble_scheduling {\n  max_inflight_requests: 8"
    (found,) = run_rule(ensemble.check_inflight, tmp_path / "bad", but('"second"', '"stream"'), others=OTHERS)
    assert found.severity == "warning"
    assert "stream may answer faster than the next step takes" in found.message
    good = but('"second"', '"stream"').replace("ensemble_scheduling {", limit)
    assert not run_rule(ensemble.check_inflight, tmp_path / "good", good, others=OTHERS)
    assert not run_rule(ensemble.check_inflight, tmp_path / "none", GOOD, others=OTHERS)


def test_other_models_are_left_alone(tmp_path: Path) -> None:
    for rule in (ensemble.check_ensemble_form, ensemble.check_flow, ensemble.check_members, ensemble.check_wires):
        assert not run_rule(rule, tmp_path / rule.__name__, 'backend: "python"')


def test_a_member_that_cannot_be_read_is_not_called_missing(tmp_path: Path) -> None:
    (tmp_path / "second").mkdir()
    others = {name: config for name, config in OTHERS.items() if name != "second"}
    from lint_cases import write_repository
    from packc.package.lint.repository import read_repository

    models, problems = read_repository(write_repository(tmp_path, {"m": GOOD, **others}))
    assert len(problems) == 1
    assert not list(ensemble.check_members(models["m"], models))
