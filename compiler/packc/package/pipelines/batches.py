"""Cuts the texts that wait at the same time into calls of the engine, by their lengths in tokens.

    pad      all in one call, in the order in which they came: for graphs that compute on the real tokens alone
    sorted   neighbours in length share a call, cut where padded tokens and calls together cost least
    single   one call a text: nothing is padded

Copied into packages beside model.py, so it imports nothing of packc.
"""

from __future__ import annotations

from collections.abc import Sequence

CALL_TOKENS = 12
"""What one call costs beside its tokens, in tokens. ONNX Runtime's fused graph of all-MiniLM-L6-v2 takes 3.82 ms for
1 x 32 tokens and 11.4 for 1 x 128: 18 (AVX-512, two threads); its int8 graph 1.93 and 6.06: 13."""


def cut_batches(lengths: Sequence[int], policy: str, token_budget: int, multiple: int = 1) -> list[list[int]]:
    """Positions in `lengths` of the texts of each call; every text is in exactly one.

    No call has more than `token_budget` tokens after padding to its longest text, rounded up to `multiple`; one text
    alone may.
    """
    if policy == "single":
        return [[position] for position in range(len(lengths))]
    rounded = [round_up(length, multiple) for length in lengths]
    if policy == "sorted":
        order = sorted(range(len(lengths)), key=rounded.__getitem__)
        ends = _choose_ends([rounded[position] for position in order], token_budget)
    else:
        order = list(range(len(lengths)))
        ends = _fill_calls(rounded, token_budget)
    return [order[start:end] for start, end in zip([0, *ends], ends, strict=False)]


def round_up(length: int, multiple: int) -> int:
    """The least multiple of `multiple` that is not below `length`."""
    return -(-length // multiple) * multiple


def _fill_calls(lengths: Sequence[int], token_budget: int) -> list[int]:
    """Where each call ends when texts are taken in order for as long as they fit."""
    ends, start, longest = [], 0, 0
    for position, length in enumerate(lengths):
        longest = max(longest, length)
        if position > start and longest * (position + 1 - start) > token_budget:
            ends.append(position)
            start, longest = position, length
    return [*ends, len(lengths)] if lengths else []


def _choose_ends(lengths: Sequence[int], token_budget: int) -> list[int]:
    """Where each call ends so that padded tokens + CALL_TOKENS a call are least; `lengths` ascend."""
    costs, starts = [0], [0]  # of the first n texts: the least cost, and where its last call starts
    for end, longest in enumerate(lengths, start=1):
        best, best_start = costs[end - 1] + longest, end - 1
        for start in range(end - 2, -1, -1):
            tokens = longest * (end - start)
            if tokens > token_budget:
                break
            if costs[start] + tokens < best:
                best, best_start = costs[start] + tokens, start
        costs.append(best + CALL_TOKENS)
        starts.append(best_start)
    ends, end = [], len(lengths)
    while end:
        ends.append(end)
        end = starts[end]
    return ends[::-1]
