from __future__ import annotations

from packc.candidate import Candidate
from packc.plan import Rejection
from packc.search import admit_in_time

CANDIDATES = tuple(Candidate(f"candidate-{i}", "stub", "fp32", ()) for i in range(3))


def run_all(max_minutes: float, minutes_each: float) -> list[str]:
    """Ids that were tried (and reasons of those that were not) when every candidate takes `minutes_each`."""
    clock = [100.0]
    seen = []
    for item in admit_in_time(CANDIDATES, max_minutes, lambda: clock[0]):
        if isinstance(item, Rejection):
            seen.append(f"{item.what}: {item.reason}")
        else:
            seen.append(item.id)
            clock[0] += 60 * minutes_each
    return seen


def test_all_are_tried_without_a_limit_or_within_it() -> None:
    names = [candidate.id for candidate in CANDIDATES]
    assert run_all(0, 1000) == names
    assert run_all(10, 3) == names


def test_no_candidate_starts_after_the_limit() -> None:
    assert run_all(2.5, 2) == [
        "candidate-0",
        "candidate-1",
        "candidate-2: not tried: the 2.5 minutes of [optimize] max_minutes were over",
    ]


def test_the_first_candidate_is_always_tried() -> None:
    assert run_all(0.001, 2)[0] == "candidate-0"
    assert len(run_all(0.001, 2)) == 3
