"""The command around `run_load`; e2e/test_server_push.py runs it against a real server."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from gpu_packages import write_fleet, write_measured
from packc.cli import bench
from packc.cli.main import run
from packc.package.manifest_file import read_manifest, write_manifest
from packc.samples import Sample
from packc.server import devices, environment, load, process
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
    assert (call["warm_instances"], "warm-up" in out) == (0, False), "a CPU is warm at once"


def test_json_at_a_rate(tmp_path: Path, runs: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]) -> None:
    package = write_text_package(tmp_path / "package")
    assert run(["bench", str(package), "--url", URL, "--rate", "20", "--batch", "3", "--json"]) == 0
    assert runs[0]["traffic"] == Traffic(1, 20.0)
    assert runs[0]["payloads"][0]["text"].shape == (3, 1)
    document = json.loads(capsys.readouterr().out)
    assert (document["schema"], document["p99_ms"], document["samples_per_s"], document["noisy"]) == (1, 99, 150, True)


def test_a_gpu_has_seen_the_requests_as_it_had_when_the_package_was_judged(
    tmp_path: Path, runs: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    package = write_measured(tmp_path, "h200", 2.0, instances=2)
    assert run(["bench", str(package), "--url", URL]) == 0
    assert runs[0]["warm_instances"] == 2
    assert "warm-up   each distinct request 8 times first" in capsys.readouterr().out
    assert run(["bench", str(package), "--url", URL, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["warm_calls"] == 8


def test_of_a_model_without_a_package_it_is_said_that_it_may_be_cold(
    tmp_path: Path, runs: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = {"text": np.array([[b"a"]], dtype=object)}
    monkeypatch.setattr(bench, "_choose_requests", lambda *_: [asked])
    assert run(["bench", "--url", URL, "--model", "m"]) == 0
    assert runs[0]["warm_instances"] == 0
    assert "warm-up   a few requests only: a GPU that has not seen them" in capsys.readouterr().out


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


def test_a_target_of_a_combined_package_has_its_own_server_and_workload(
    tmp_path: Path, runs: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    package = write_fleet(tmp_path)
    own = read_manifest(package / "targets" / "l4")
    write_manifest(package / "targets" / "l4", replace(own, promises=replace(own.promises, concurrency=7)))
    started: list[str | None] = []

    @contextlib.contextmanager
    def start(*_: object, config_name: str | None) -> Iterator[object]:
        started.append(config_name)
        yield SimpleNamespace(http_url=URL)

    monkeypatch.setattr(process, "start_server", start)
    monkeypatch.setattr(environment, "require_server", lambda: None)
    monkeypatch.setattr(devices, "find_gpu", object)
    for target in ("l4", "t4"):
        assert run(["bench", str(package), "--target", target]) == 0
    assert run(["bench", str(package)]) == 0
    assert started == ["l4", "t4", None]
    assert [call["traffic"].concurrency for call in runs] == [7, 1, 1], "of t4 nothing was measured"
    assert run(["bench", "--url", URL, "--model", "tiny", "--target", "l4"]) == 2
    assert "--target is of a package" in capsys.readouterr().err
