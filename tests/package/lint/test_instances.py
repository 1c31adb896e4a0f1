from __future__ import annotations

from pathlib import Path

import pytest

from lint_cases import Case, check_case
from packc.package.lint import instances

ORT = 'backend: "onnxruntime"\n'
OPENVINO = 'backend: "openvino"\nparameters { key: "%s" value { string_value: "%s" } }'
THREADS = 'parameters { key: "intra_op_thread_count" value { string_value: "%s" } }'


def group(fields: str, backend: str = "onnxruntime") -> str:
    return f'backend: "{backend}"\ninstance_group [ {{ {fields} }} ]'


def accelerator(side: str, fields: str) -> str:
    return ORT + f"optimization {{ execution_accelerators {{ {side}_execution_accelerator {{ {fields} }} }} }}"


CASES = [
    Case(
        instances.check_kinds,
        group("kind: KIND_CPU gpus: [ 0 ]"),
        "KIND_CPU takes no gpus",
        "2:43",
        group("kind: KIND_GPU gpus: [ 0 ]"),
    ),
    Case(instances.check_kinds, group("count: -1"), "-1 instances are not possible", "2:27", group("count: 1")),
    Case(
        instances.check_kinds,
        group('profile: "0"'),
        "profiles are for TensorRT alone",
        "2:29",
        group('profile: "0"', "tensorrt"),
    ),
    Case(
        instances.check_kinds,
        group('profile: "fast"', "tensorrt"),
        '"fast" is not the number of a profile',
        "2:29",
        group('profile: "1"', "tensorrt"),
    ),
    Case(
        instances.check_kinds,
        group("kind: KIND_GPU", "vllm"),
        "vLLM places itself: use KIND_MODEL, not KIND_GPU",
        "2:26",
        group("kind: KIND_MODEL", "vllm"),
        "warning",
    ),
    Case(
        instances.check_threads,
        group("kind: KIND_CPU count: 4"),
        "4 instances compute on all cores each",
        "2:42",
        group("kind: KIND_CPU count: 4") + "\n" + THREADS % 2,
        "warning",
    ),
    Case(
        instances.check_threads,
        group("kind: KIND_CPU"),  # onnxruntime makes two
        "2 instances compute on all cores each",
        "2:18",
        group("kind: KIND_CPU count: 1"),
        "warning",
    ),
    Case(
        instances.check_parameters,
        'parameters { key: "a" value { } }',
        'the parameter "a" is empty',
        "1:23",
        'parameters { key: "a" value { string_value: "b" } }',
        "warning",
    ),
    Case(
        instances.check_parameters,
        ORT + THREADS % "two",
        'intra_op_thread_count is a number, not "two"',
        "2:65",
        ORT + THREADS % 2,
    ),
    *(
        Case(
            instances.check_parameters,
            OPENVINO % (key, bad),
            f'{key} is {wanted}, not "{bad}"',
            f"2:{44 + len(key)}",
            OPENVINO % (key, good),
        )
        for key, bad, wanted, good in (
            ("INFERENCE_NUM_THREADS", "all", "a number", "2"),
            ("NUM_STREAMS", "many", "a number, AUTO or NUMA", "auto"),
            ("PERFORMANCE_HINT", "FAST", "LATENCY or THROUGHPUT or CUMULATIVE_THROUGHPUT", "latency"),
            ("HINT_BF16", "NO", "YES", "YES"),
        )
    ),
    Case(
        instances.check_padding,
        "max_batch_size: 8\n" + OPENVINO % ("NUM_STREAMS", 1),
        "the native openvino backend refuses every batch but the largest",
        "1:17",
        "max_batch_size: 8\n" + OPENVINO % ("ENABLE_BATCH_PADDING", "YES"),
        "warning",
    ),
    Case(
        instances.check_accelerators,
        accelerator("cpu", 'name: "tensorrt"'),
        'onnxruntime has no CPU accelerator "tensorrt"',
        "2:75",
        accelerator("cpu", 'name: "openvino"'),
    ),
    Case(
        instances.check_accelerators,
        accelerator("gpu", 'name: "tensorrt"'),
        "TensorRT builds its engine anew at every load",
        "2:41",
        accelerator("gpu", 'name: "tensorrt" parameters { key: "trt_engine_cache_enable" value: "1" }'),
        "warning",
    ),
    Case(
        instances.check_graph_settings,
        ORT + "optimization { cuda { graphs: true } }",
        "the onnxruntime backend does not read optimization.cuda.graphs",
        "2:31",
        'backend: "tensorrt"\noptimization { cuda { graphs: true } }',
        "warning",
    ),
    Case(
        instances.check_graph_settings,
        ORT + "optimization { graph { level: 99 } }",
        "the onnxruntime backend knows no graph level 99",
        "2:31",
        ORT + "optimization { graph { level: 1 } }",
        "warning",
    ),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_cases(tmp_path: Path, case: Case) -> None:
    check_case(case, tmp_path)
