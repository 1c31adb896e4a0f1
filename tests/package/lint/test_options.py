from __future__ import annotations

from pathlib import Path

import pytest

from lint_cases import Case, check_case, run_rule
from packc.package.lint import options
from packc.runtimes.onnxruntime_cuda import PROVIDER_OPTIONS
from packc.runtimes.onnxruntime_tensorrt import SHAPE_OPTIONS
from packc.runtimes.runtime import GRAPH_PARAMETER

ORT = 'backend: "onnxruntime"\n'


def accelerator(key: str, name: str = "cuda") -> str:
    option = f'name: "{name}" parameters {{ key: "{key}" value: "1" }}'
    return ORT + f"optimization {{ execution_accelerators {{ gpu_execution_accelerator {{ {option} }} }} }}"


def parameter(key: str) -> str:
    return ORT + f'parameters {{ key: "{key}" value {{ string_value: "1" }} }}'


CASES = [
    Case(
        options.check_accelerator_options,
        accelerator("prefer_nhcw"),
        '"prefer_nhcw" is no option of the accelerator cuda that is known',
        "2:100",
        accelerator("prefer_nhwc"),
        "warning",
    ),
    Case(
        options.check_accelerator_options,
        accelerator("trt_fp16_enable", "tensorrt"),
        '"trt_fp16_enable" is no option of the accelerator tensorrt that is known',
        "2:104",
        accelerator("precision_mode", "tensorrt"),
        "warning",
    ),
    Case(
        options.check_parameter_names,
        parameter("use_tf23"),
        'the onnxruntime backend reads no parameter "use_tf23"',
        "2:19",
        parameter("mine"),
        "warning",
    ),
    Case(
        options.check_parameter_names,
        parameter("intra_op_threads_count"),
        'the onnxruntime backend reads no parameter "intra_op_threads_count"',
        "2:19",
        parameter("intra_op_thread_count"),
        "warning",
    ),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_cases(tmp_path: Path, case: Case) -> None:
    check_case(case, tmp_path)


@pytest.mark.parametrize(
    ("config", "hint"),
    [
        (accelerator("prefer_nhcw"), 'did you mean "prefer_nhwc"?'),
        (accelerator("trt_fp16_enable", "tensorrt"), 'the accelerator tensorrt has "precision_mode" for it'),
        (accelerator("trt_dla_core"), "it is one of the accelerator tensorrt"),
        (accelerator("zzz"), "servers refuse it or leave it out, unless their ONNX Runtime is newer than this list"),
        (
            parameter("use_tf23"),
            'the accelerator cuda has "use_tf32": write it among the parameters of that',
        ),
        (
            parameter("prefer_nhwc"),
            'the accelerator cuda has "prefer_nhwc": write it among the parameters of that',
        ),
        (parameter("intra_op_threads_count"), 'did you mean "intra_op_thread_count"?'),
    ],
)
def test_hints(tmp_path: Path, config: str, hint: str) -> None:
    rules = (options.check_accelerator_options, options.check_parameter_names)
    found = [item for i, rule in enumerate(rules) for item in run_rule(rule, tmp_path / str(i), config)]
    assert [item.hint for item in found] == [hint]


def test_other_backends_and_accelerators_have_options_of_their_own(tmp_path: Path) -> None:
    for i, (rule, config) in enumerate((
        (options.check_accelerator_options, accelerator("prefer_nhcw").replace("onnxruntime", "mine")),
        (options.check_accelerator_options, accelerator("prefer_nhcw", "mine")),
        (options.check_parameter_names, parameter("use_tf23").replace("onnxruntime", "mine")),
        (options.check_parameter_names, parameter("session.use_tf32")),
    )):  # fmt: skip
        assert run_rule(rule, tmp_path / str(i), config) == []


def test_what_pack_writes_is_known() -> None:
    assert set(PROVIDER_OPTIONS.values()) <= options.CUDA_OPTIONS
    assert set(SHAPE_OPTIONS) <= options.TENSORRT_OPTIONS


@pytest.mark.parametrize("key", [GRAPH_PARAMETER, "requirement", "pack_release"])
def test_packs_own_parameters_are_no_slips(tmp_path: Path, key: str) -> None:
    assert run_rule(options.check_parameter_names, tmp_path, parameter(key)) == []
