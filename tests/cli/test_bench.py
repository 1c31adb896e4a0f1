"""The command around `run_load`; e2e/test_server_push.py runs it against a real server."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from packc.cli.main import run
from packc.samples import Sample
from packc.server import load
from packc.server.load import LoadResult, Traffic
from served_packages import TEXTS, write_text_package

URL = "http://127.0.0.1:8000"


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """The calls of `run_load`, which says 1 to 100 ms."""
    calls: list[dict[str, Any]] = []

    def stand_in(url: str, model: str, payloads: Sequence[Sample], traffic: Traffic, **options: Any) -> LoadResult:
        calls.append({"url": url, "model": model, "payloads": payloads, "traffic": traffic, **options})
        latencies = tuple(float(i) for i in range(1, 101))
        return LoadResult(latencies, 2.0, traffic.concurrency, traffic.rate_per_s, options["batch"], 0, "", True, 0.1)

    monkeypatch.setattr(load, "run_load", stand_in)
    return calls


def test_a_package_is_asked_its_golden_requests(
    tmp_path: Path, runs: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    package = write_text_package(tmp_path / "package")
    assert run(["bench", str(package), "--url", URL, "--concurrency", "4", "--seconds", "1.5"]) == 0
    (call,) = runs
    assert (call["model"], call["traffic"], call["min_seconds"]) == ("letters", Traffic(4), 1.5)
    assert [payload["text"][0, 0].decode() for payload in call["payloads"]] == list(TEXTS)
    out = capsys.readouterr().out
    assert "letters: 4 clients, batch 1, 100 requests" in out
    assert "p50 50.00  p90 90.00  p95 95.00  p99 99.00  max 100.00 ms" in out
    assert "50 requests/s, 50 samples/s" in out
    assert "noisy" in out


def test_json_at_a_rate(tmp_path: Path, runs: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]) -> None:
    package = write_text_package(tmp_path / "package")
    assert run(["bench", str(package), "--url", URL, "--rate", "20", "--batch", "3", "--json"]) == 0
    assert runs[0]["traffic"] == Traffic(1, 20.0)
    assert runs[0]["payloads"][0]["text"].shape == (3, 1)
    document = json.loads(capsys.readouterr().out)
    assert (document["schema"], document["p99_ms"], document["samples_per_s"], document["noisy"]) == (1, 99, 150, True)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ([], "give a package, or --url and --model"),
        (["--url", URL], "give a package, or --url and --model"),
        (["--url", URL, "--model", "m", "--rate", "5", "--concurrency", "2"], "--concurrency or --rate, not both"),
    ],
)
def test_wrong_command_lines(arguments: list[str], reason: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["bench", *arguments]) == 2
    assert reason in capsys.readouterr().err
