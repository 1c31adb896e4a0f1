from __future__ import annotations

from pathlib import Path

import pytest

from lint_cases import Case, check_case
from packc.package.lint import batching

CASES = [
    Case(
        batching.check_max_batch_size, "max_batch_size: -1", "max_batch_size is negative", "1:17", "max_batch_size: 0"
    ),
    Case(
        batching.check_scheduler,
        "max_batch_size: 8",
        "requests are never batched together: there is no scheduler",
        "1:17",
        "max_batch_size: 8\ndynamic_batching { }",
        "warning",
    ),
    Case(
        batching.check_scheduler,
        "dynamic_batching { }",
        "it does nothing: max_batch_size is 0",
        "1:1",
        "max_batch_size: 1",
        "warning",
    ),
    Case(
        batching.check_preferred_sizes,
        "max_batch_size: 8\ndynamic_batching { preferred_batch_size: [ 4, 16 ] }",
        "16 exceeds max_batch_size, which is 8",
        "2:47",
        "max_batch_size: 8\ndynamic_batching { preferred_batch_size: [ 4, 8 ] }",
    ),
    Case(
        batching.check_preferred_sizes,
        "max_batch_size: 8\nsequence_batching { oldest { preferred_batch_size: 0 } }",
        "a preferred batch size of 0 is not positive",
        "2:52",
        "max_batch_size: 8\nsequence_batching { oldest { preferred_batch_size: 1 } }",
    ),
    Case(
        batching.check_priorities,
        "dynamic_batching { priority_levels: 2 default_priority_level: 3 }",
        "default_priority_level is 3, the levels are 1 to 2",
        "1:63",
        "dynamic_batching { priority_levels: 2 default_priority_level: 2 }",
    ),
    Case(
        batching.check_priorities,
        "dynamic_batching {\n priority_levels: 2 default_priority_level: 1\n"
        " priority_queue_policy { key: 5 value { } } }",
        "there is no priority level 5: they are 1 to 2",
        "3:31",
        "dynamic_batching { priority_levels: 2 default_priority_level: 1 priority_queue_policy { key: 2 value { } } }",
    ),
    Case(
        batching.check_ordering,
        "dynamic_batching { preserve_ordering: true priority_levels: 2 }",
        "preserve_ordering allows one priority level, not several",
        "1:39",
        "dynamic_batching { preserve_ordering: true priority_levels: 1 }",
    ),
    Case(
        batching.check_ordering,
        "dynamic_batching { preserve_ordering: true\n"
        " default_queue_policy { timeout_action: DELAY default_timeout_microseconds: 5 } }",
        "preserve_ordering excludes timeout_action: DELAY",
        "1:39",
        "dynamic_batching { preserve_ordering: true\n"
        " default_queue_policy { timeout_action: REJECT default_timeout_microseconds: 5 } }",
    ),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_cases(tmp_path: Path, case: Case) -> None:
    check_case(case, tmp_path)
