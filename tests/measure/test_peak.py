from __future__ import annotations

import json
from pathlib import Path

import pytest

from packc.cache import Cache
from packc.measure import peak
from packc.measure.peak import GemmRate, ReadRate, measure_peaks

ANSWER = {
    "gemm": [{"precision": "fp32", "gflop_per_s": 200.0, "library": "numpy"}],
    "reads": [{"mib": 4.0, "gb_per_s": 90.0}],
    "threads": 2,
    "source": "measured here",
}


def test_peaks_are_measured_once_a_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    calls = []

    def run(module: str, request: bytes, what: str, environment: dict[str, str]) -> bytes:
        calls.append((module, json.loads(request), environment["OPENBLAS_NUM_THREADS"]))
        return json.dumps(ANSWER).encode()

    monkeypatch.setattr(peak, "ask_child", run)
    cache = Cache(tmp_path)
    with caplog.at_level("INFO"):
        for _ in range(2):
            peaks = measure_peaks(("fp32", "int8"), 2, "here", cache)
    assert caplog.messages == ["the best rates of this machine: measured before"]
    assert peaks.gemm == (GemmRate("fp32", 200.0, "numpy"),)
    assert peaks.reads == (ReadRate(4.0, 90.0),)
    assert calls == [("packc.measure.peak_child", {"precisions": ["fp32", "int8"], "threads": 2}, "2")]
    measure_peaks(("fp32", "int8"), 2, "elsewhere", cache)
    measure_peaks(("fp32", "int8"), 1, "here", cache)
    assert len(calls) == 3


def test_what_varies_is_measured_again_the_next_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = [{**ANSWER, "is_steady": steady} for steady in (False, True, True)]
    monkeypatch.setattr(peak, "ask_child", lambda *_: json.dumps(answers.pop(0)).encode())
    assert [measure_peaks(("fp32",), 2, "here", Cache(tmp_path)).is_steady for _ in range(3)] == [False, True, True]
    assert len(answers) == 1, "the steady ones were kept"
