from __future__ import annotations

from pathlib import Path

import pytest

from lint_cases import Case, check_case
from packc.package.lint.responses import check_cache

CACHE = "response_cache { enable: true }\n"

CASES = [
    Case(
        check_cache,
        CACHE + "model_transaction_policy { decoupled: true }",
        "the response cache does not work with a decoupled model",
        "1:1",
        "model_transaction_policy { decoupled: true }",
    ),
    Case(
        check_cache,
        CACHE + "sequence_batching { }",
        "the response cache does not work with sequence_batching",
        "1:1",
        CACHE + "dynamic_batching { }",
    ),
    Case(
        check_cache,
        CACHE + 'backend: "vllm"',
        "a model that samples would repeat its first answer",
        "1:1",
        CACHE + 'backend: "onnxruntime"',
        "warning",
    ),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_cases(tmp_path: Path, case: Case) -> None:
    check_case(case, tmp_path)
