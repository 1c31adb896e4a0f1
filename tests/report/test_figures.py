from __future__ import annotations

import pytest

from packc.report.figures import (
    MISSING,
    show_against,
    show_bound,
    show_figure,
    show_percentile,
    show_protocol,
    show_quality,
    show_share,
    show_words,
)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, MISSING),
        (0.0, "0.00"),
        (0.00042, "0.00042"),
        (0.1234, "0.123"),
        (9.826, "9.83"),
        (31.84, "31.8"),
        (402.4, "402"),
        (12345.6, "12,346"),
    ],
)
def test_figure_has_three_significant_digits(value: float | None, text: str) -> None:
    assert show_figure(value) == text


@pytest.mark.parametrize(("value", "text"), [(15.0, "15"), (0.9, "0.9"), (1000.0, "1,000"), (12.5, "12.5")])
def test_bound_reads_as_it_was_written(value: float, text: str) -> None:
    assert show_bound(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, MISSING),
        (1.0, "1.000"),
        (0.9312, "0.931"),
        (0.9996, "0.9996"),
        (0.9999996, "0.9999996"),
        (0.0, "0.000"),
        (3.1e-06, "3.1e-06"),
    ],
)
def test_only_a_perfect_quality_reads_like_one(value: float | None, text: str) -> None:
    assert show_quality(value) == text


def test_a_near_miss_does_not_read_like_the_bound() -> None:
    assert show_against(15.004, 15.0) == "15.004"
    assert show_against(15.0, 15.0) == "15.0"
    assert show_against(9.826, 15.0) == "9.83"
    assert show_against(0.89996, 0.9, quality=True) == "0.89996"
    assert show_against(1000.2, 1000.0) == "1,000.200"


def test_names() -> None:
    assert show_percentile(99.0) == "p99"
    assert show_percentile(99.9) == "p99.9"
    assert show_words("neighbour_agreement") == "neighbour agreement"
    assert [show_protocol(p) for p in ("http", "grpc", "other")] == ["HTTP", "gRPC", "other"]


def test_a_small_share_is_not_nothing() -> None:
    assert [show_share(share) for share in (1.2, 0.566, 0.01, 0.0099)] == ["1.20", "0.57", "0.01", "< 0.01"]
