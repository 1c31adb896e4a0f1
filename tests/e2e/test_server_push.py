"""Pushing to real servers: what clients get changes only when the new package has proved itself there."""

from __future__ import annotations

import json
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from packc.cli.main import run
from packc.errors import PushError
from packc.push.push import push_package
from packc.server.client import Client, RequestFailed, connect
from packc.server.environment import Server
from packc.server.load import Traffic, run_load
from packc.server.process import RunningServer, start_server
from served_packages import TEXTS, WIDTH, write_tensor_package, write_text_package

pytestmark = pytest.mark.e2e

X = np.ones((1, WIDTH), np.float32)
TEXT = np.array([[TEXTS[0]]], dtype=object)


@pytest.fixture(scope="module")
def server(triton_server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with start_server(triton_server, tmp_path_factory.mktemp("empty"), control="explicit") as started:
        yield started


@pytest.fixture
def running(server: RunningServer) -> Iterator[RunningServer]:
    """A server with explicit model control, empty at the start of each test."""
    yield server
    with connect(server.http_url) as client:
        for name in sorted(_loaded(server), key=len):  # an ensemble's name is shorter than its members'
            client.unload(name)
    assert not _loaded(server)


@pytest.fixture
def client(running: RunningServer) -> Iterator[Client]:
    with connect(running.grpc_url) as connected:
        yield connected


def _ask_text(client: Client) -> float:
    return float(client.infer("letters", {"text": TEXT})["embedding"][0, 0])


def _loaded(running: RunningServer) -> set[str]:
    """Names of the models that are loaded (the repository index does not list pushed ones)."""
    deadline, last = time.monotonic() + 5, {""}
    while True:  # until it settles: unloading goes on after the call returns
        with urllib.request.urlopen(f"{running.http_url}/v2/models/stats") as response:
            stats = json.load(response)["model_stats"]
        names = {model["name"] for model in stats}
        if time.monotonic() > deadline or names == last:
            return names
        last = names
        time.sleep(0.3)


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_pushes_and_replaces(running: RunningServer, client: Client, tmp_path: Path, protocol: str) -> None:
    url = running.http_url if protocol == "http" else running.grpc_url
    first = push_package(write_text_package(tmp_path / "one"), url)
    assert (first.version, first.golden_requests, len(first.models)) == (1, 3, 3)
    assert first.models[-1] == "letters", "members come before the ensemble"
    assert _ask_text(client) == 4

    again = push_package(write_text_package(tmp_path / "again"), url)
    assert (again.version, again.models, again.golden_requests) == (1, (), 3)
    second = push_package(write_text_package(tmp_path / "two", scale=3.0, promised=3.0), url)
    assert second.version == 2
    assert len(second.models) == 2, "the tokenizer did not change, so it is not sent again"
    assert _ask_text(client) == 6
    assert client.model_versions("letters") == ("2",)
    model_of_first = next(name for name in first.models if name.startswith("letters-model-"))
    assert not client.is_ready(model_of_first), "what nothing uses any more is unloaded"


def test_wrong_answers_never_reach_clients(running: RunningServer, client: Client, tmp_path: Path) -> None:
    push_package(write_text_package(tmp_path / "good"), running.grpc_url)
    bad = write_text_package(tmp_path / "bad", scale=5.0, promised=2.0)
    with pytest.raises(PushError, match="3 of 3 golden requests") as caught:
        push_package(bad, running.grpc_url)
    assert "still serves" in str(caught.value)
    assert _ask_text(client) == 4
    assert client.model_versions("letters") == ("1",)
    assert len(_loaded(running)) == 3, "nothing of the failed push stays loaded"


def test_a_model_that_does_not_load_changes_nothing(running: RunningServer, client: Client, tmp_path: Path) -> None:
    push_package(write_text_package(tmp_path / "good"), running.http_url)
    bad = write_text_package(tmp_path / "bad")
    _edit_and_seal(bad, "*/1/model.py", "import numpy", "import no_such_module, numpy")
    with pytest.raises(PushError, match=r"refused model 'letters-tokenizer-\w+': ModuleNotFoundError: No module"):
        push_package(bad, running.http_url)
    assert _ask_text(client) == 4
    assert client.model_versions("letters") == ("1",)
    assert len(_loaded(running)) == 3


def test_a_first_push_that_fails_leaves_nothing(running: RunningServer, client: Client, tmp_path: Path) -> None:
    with pytest.raises(PushError, match="nothing does now"):
        push_package(write_text_package(tmp_path / "bad", scale=5.0), running.grpc_url)
    assert not _loaded(running)
    with pytest.raises(RequestFailed):
        _ask_text(client)


def test_a_tensor_model_is_replaced(running: RunningServer, client: Client, tmp_path: Path) -> None:
    push_package(write_tensor_package(tmp_path / "one"), running.grpc_url)
    with pytest.raises(PushError, match="still serves"):
        push_package(write_tensor_package(tmp_path / "wrong", scale=7.0), running.grpc_url)
    assert client.infer("tiny", {"x": X})["y"][0, 0] == 2
    assert push_package(write_tensor_package(tmp_path / "same"), running.grpc_url).models == ()
    result = push_package(write_tensor_package(tmp_path / "two", scale=3.0, promised=3.0), running.grpc_url)
    assert result.version == 2
    assert client.infer("tiny", {"x": X})["y"][0, 0] == 3
    assert _loaded(running) == {"tiny"}


def test_no_request_fails_during_a_push(running: RunningServer, tmp_path: Path) -> None:
    push_package(write_text_package(tmp_path / "one"), running.grpc_url)
    second = write_text_package(tmp_path / "two", scale=3.0, promised=3.0)
    pushing = threading.Timer(0.5, push_package, (second, running.grpc_url))
    pushing.start()
    payloads = [{"text": np.array([[text]], dtype=object)} for text in TEXTS]
    result = run_load(running.http_url, "letters", payloads, Traffic(concurrency=2), min_seconds=4.0)
    pushing.join()
    assert result.errors == 0, result.first_error
    with connect(running.http_url) as client:
        assert _ask_text(client) == 6


def test_a_server_without_model_control_is_refused(triton_server: Server, tmp_path: Path) -> None:
    package = write_tensor_package(tmp_path / "package")
    with (
        start_server(triton_server, package / "model_repository") as server,
        pytest.raises(PushError, match="does not let its models be changed") as caught,
    ):
        push_package(package, server.http_url)
    assert "--model-control-mode=explicit" in (caught.value.hint or "")


def test_command_line(
    running: RunningServer, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    package = write_text_package(tmp_path / "package")
    assert run(["push", str(package), running.http_url, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["schema"], document["model"], document["version"]) == (1, "letters", 1)
    assert run(["verify", str(package), "--url", running.http_url, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["met"] is True
    assert run(["bench", str(package), "--url", running.http_url, "--concurrency", "2", "--seconds", "0.5"]) == 0
    assert "p99" in capsys.readouterr().out
    assert run(["push", str(write_text_package(tmp_path / "bad", scale=9.0)), running.http_url]) == 6
    assert "golden requests" in capsys.readouterr().err


def test_a_pushed_folder_is_what_a_server_loads(triton_server: Server, tmp_path: Path) -> None:
    repository = tmp_path / "repository"
    push_package(write_text_package(tmp_path / "one"), str(repository))
    push_package(write_text_package(tmp_path / "two", scale=3.0, promised=3.0), str(repository))
    push_package(write_tensor_package(tmp_path / "three"), str(repository))
    with start_server(triton_server, repository) as server, connect(server.http_url) as client:
        assert _ask_text(client) == 6
        assert client.model_versions("letters") == ("2",)
        assert client.infer("tiny", {"x": X})["y"][0, 0] == 2


def _edit_and_seal(package: Path, pattern: str, old: str, new: str) -> None:
    """Changes a file of the repository and its hash, as if it had been built so."""
    import dataclasses

    from packc.package.manifest_file import hash_files, read_manifest, write_manifest

    path = next((package / "model_repository").glob(pattern))
    path.write_text(path.read_text().replace(old, new))
    write_manifest(package, dataclasses.replace(read_manifest(package), files=hash_files(package)))
