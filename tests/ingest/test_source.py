from __future__ import annotations

from pathlib import Path

import pytest

from packc.ingest.source import TextPreprocessing


@pytest.mark.parametrize(
    ("pairs", "text", "expected"),
    [
        (False, "one\ttwo", ("one\ttwo", None)),
        (True, "one\ttwo\tthree", ("one", "two\tthree")),
        (True, "alone", ("alone", None)),
    ],
)
def test_a_tab_separates_only_where_samples_are_pairs(pairs: bool, text: str, expected: tuple[str, str | None]) -> None:
    how = TextPreprocessing(Path("tokenizer.json"), max_length=8, pad_id=0, inputs=("input_ids",), pairs=pairs)
    assert how.split(text) == expected
