"""The server and the load are stood in for; e2e/test_minilm.py has both."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from packc.samples import RawSamples, Sample
from packc.server import probe
from packc.server.load import LoadResult, Traffic
from packc.server.probe import probe_package
from packc.server.process import RunningServer
from packc.server.verify import Evaluation
from served_packages import write_text_package

TEXTS = ("one", "two", "three")


def test_one_server_answers_several_short_loads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    events: list[Any] = []

    @contextmanager
    def start_server(server: object, repository: Path, cache: object) -> Iterator[RunningServer]:
        events.append(repository.name)
        yield RunningServer("http://here:1", "", "", 0, tmp_path)
        events.append("stopped")

    def run_load(
        url: str,
        model: str,
        payloads: Sequence[Sample],
        traffic: Traffic,
        batch: int,
        warm_instances: int,
        **seconds: float,
    ) -> LoadResult:
        assert (url, model, batch) == ("http://here:1", "letters", 2)
        assert seconds["min_seconds"] < seconds["max_seconds"] < 10
        assert [payload["text"].shape for payload in payloads] == [(2, 1), (2, 1)]
        events.append((traffic, warm_instances))
        return LoadResult((1.0,), 1.0, traffic.concurrency, 0.0, batch, 0, "", False, 0.0)

    monkeypatch.setattr(probe, "require_server", lambda cache: None)
    monkeypatch.setattr(probe, "start_server", start_server)
    monkeypatch.setattr(probe, "run_load", run_load)
    package = write_text_package(tmp_path / "package")
    evaluation = Evaluation(None, RawSamples("here", texts=TEXTS), tmp_path, tmp_path, "cosine")  # type: ignore[arg-type]
    with probe_package(package, "letters", 2, evaluation=evaluation, traffic_data=None, warm_instances=2) as ask:
        assert ask(Traffic(1)).concurrency == 1
        assert ask(Traffic(4)).concurrency == 4
    assert events == ["model_repository", (Traffic(1), 2), (Traffic(4), 0), "stopped"]
