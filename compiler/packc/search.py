"""Which candidates of a plan get their turn within `[optimize] max_minutes`."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence

from packc.candidate import Candidate
from packc.plan import Rejection


def admit_in_time(
    candidates: Sequence[Candidate], max_minutes: float, now_s: Callable[[], float] = time.monotonic
) -> Iterator[Candidate | Rejection]:
    """The candidates in order while time is left, then a Rejection for each of the others; 0 minutes mean no limit.

    The clock starts with the first candidate and is read when the next one is asked for, so that the work on a
    candidate that was started is finished. The first candidate is always admitted.
    """
    start_s = now_s()
    for index, candidate in enumerate(candidates):
        if max_minutes and index and now_s() - start_s >= max_minutes * 60:
            yield Rejection(candidate.id, f"not tried: the {max_minutes:g} minutes of [optimize] max_minutes were over")
        else:
            yield candidate
