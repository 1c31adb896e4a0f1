from __future__ import annotations

import dataclasses

import pytest

from packc.quality.score import QualityScore


def test_a_score_does_not_change() -> None:
    score = QualityScore("cosine", 0.99, 0.98, 1.0, 200, 1.0, 0.02)
    with pytest.raises(dataclasses.FrozenInstanceError):
        score.value = 1.0  # type: ignore[misc]
