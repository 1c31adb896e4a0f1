"""The real server: packages load, answer over HTTP and gRPC, and say why when they do not."""

from __future__ import annotations

import dataclasses
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from packc.errors import MissingError, UsageError
from packc.package.manifest_file import hash_files
from packc.package.model_config import print_config
from packc.server.client import RequestFailed, connect
from packc.server.environment import Server
from packc.server.load import Traffic, ask_all, run_load
from packc.server.process import Ports, RunningServer, ServerStopped, start_server
from packc.server.replay import GoldenMismatch
from packc.server.verify import Workload, verify_package
from served_packages import (
    WIDTH,
    make_graph_model,
    make_scaling_graph,
    read_config,
    write_tensor_package,
    write_text_package,
)

pytestmark = pytest.mark.e2e

WORKLOAD = Workload(Traffic(concurrency=2), batch=1, percentile=95.0)


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("packages")
    write_tensor_package(folder / "tensors")
    write_text_package(folder / "text")
    return folder


@pytest.fixture(scope="module")
def running(triton_server: Server, packages: Path) -> Iterator[RunningServer]:
    """A server with the models of both packages."""
    repository = packages / "both"
    shutil.copytree(packages / "tensors" / "model_repository", repository)
    shutil.copytree(packages / "text" / "model_repository", repository, dirs_exist_ok=True)
    with start_server(triton_server, repository) as server:
        yield server


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_answers_tensors_and_text(running: RunningServer, protocol: str) -> None:
    with connect(running.http_url if protocol == "http" else running.grpc_url) as client:
        assert client.server_version().startswith("triton 2.")
        assert client.is_ready("tiny")
        assert client.is_ready("tiny", "1")
        assert not client.is_ready("tiny", "2")
        assert client.model_versions("tiny") == ("1",)
        inputs, outputs = client.describe_model("letters")
        assert (inputs[0].name, inputs[0].dtype, outputs[0].name) == ("text", "object", "embedding")
        x = np.arange(2 * WIDTH, dtype=np.float32).reshape(2, WIDTH)
        np.testing.assert_array_equal(client.infer("tiny", {"x": x})["y"], x * 2)
        answer = client.infer("letters", {"text": np.array([["a cat"], ["über oi"]], dtype=object)})["embedding"]
        np.testing.assert_array_equal(answer, [[4, 0, 0, 0], [0, 2, 2, 2]])


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_a_refused_request_says_why(running: RunningServer, protocol: str) -> None:
    with connect(running.http_url if protocol == "http" else running.grpc_url) as client:
        with pytest.raises(RequestFailed, match="unexpected shape"):
            client.infer("tiny", {"x": np.zeros((1, WIDTH + 1), np.float32)})
        with pytest.raises(RequestFailed, match="unknown model"):
            client.infer("nobody", {"x": np.zeros((1, WIDTH), np.float32)})


def test_load_is_measured(running: RunningServer) -> None:
    payloads = [{"x": np.full((2, WIDTH), i, np.float32)} for i in range(7)]
    result = run_load(running.http_url, "tiny", payloads, Traffic(concurrency=3), batch=2, min_seconds=0.3)
    assert len(result.latencies_ms) >= 200
    assert result.errors == 0
    assert 0 < result.percentile_ms(50) <= result.percentile_ms(99) <= result.latencies_ms[-1]
    assert result.samples_per_s == pytest.approx(2 * result.requests_per_s)
    assert result.elapsed_s >= 0.3


def test_a_rate_is_kept(running: RunningServer) -> None:
    payloads = [{"x": np.zeros((1, WIDTH), np.float32)}]
    traffic = Traffic(rate_per_s=100.0)
    result = run_load(running.http_url, "tiny", payloads, traffic, min_requests=100, min_seconds=1.0)
    assert 70 < result.requests_per_s < 140


def test_answers_under_load_keep_their_order(running: RunningServer) -> None:
    payloads = [{"x": np.full((1, WIDTH), i, np.float32)} for i in range(50)]
    answers = ask_all(running.http_url, "tiny", payloads, Traffic(concurrency=8))
    np.testing.assert_array_equal([answer["y"][0, 0] for answer in answers], np.arange(50) * 2)


def test_verifies_packages(triton_server: Server, packages: Path) -> None:
    before = hash_files(packages)
    record = verify_package(packages / "text", "letters", WORKLOAD, "fp32").record
    assert record.server.startswith("triton")
    assert record.golden_max_error == 0
    assert record.samples >= 200
    assert 0 < record.p50_ms <= record.latency_ms <= record.p99_ms
    assert hash_files(packages) == before, "serving must not write into the package"


def test_verifies_on_a_running_server(running: RunningServer, packages: Path) -> None:
    record = verify_package(
        packages / "tensors",
        "tiny",
        dataclasses.replace(WORKLOAD, batch=3),
        "fp32",
        urls=(running.http_url, running.grpc_url),
    ).record
    assert record.batch == 3
    with pytest.raises(UsageError, match="over HTTP"):
        verify_package(packages / "tensors", "tiny", WORKLOAD, "fp32", urls=(running.grpc_url,))


def test_wrong_answers_are_found(triton_server: Server, tmp_path: Path) -> None:
    package = write_tensor_package(tmp_path / "wrong", scale=2.001)
    with pytest.raises(GoldenMismatch) as caught:
        verify_package(package, "tiny", WORKLOAD, "fp32")
    assert "3 of 3 golden requests" in str(caught.value)
    assert "request 1 (x [1, 4]): output 'y' differs by up to 0.002" in str(caught.value)


BROKEN = {
    "syntax": ("max_batch_size", "max_batchsize", r"model 'tiny': .*line 7, column \d+.*max_batchsize"),
    "shape": ("dims: 4", "dims: 5", r"model 'tiny': input 'x' has shape \[-1, 5\], the graph has \['batch', 4\]"),
    "type": ("TYPE_FP32", "TYPE_INT32", "model 'tiny': input 'x' is TYPE_INT32, the graph has TYPE_FP32"),
    "tensor": ('name: "x"', 'name: "z"', "model 'tiny': unexpected input 'z': the graph has 'x'"),
    "backend": ("onnxruntime", "tensorflow", "model 'tiny': unexpected 'platform' and 'backend' pair"),
    "name": ('name: "tiny"', 'name: "tinier"', "model 'tiny': unexpected directory name 'tiny'"),
}


@pytest.mark.parametrize("mistake", BROKEN)
def test_a_broken_repository_says_why(triton_server: Server, tmp_path: Path, mistake: str) -> None:
    wrong, right, reason = BROKEN[mistake]
    repository = write_tensor_package(tmp_path / "package") / "model_repository"
    config = repository / "tiny" / "config.pbtxt"
    text = config.read_text()
    assert wrong in text
    config.write_text(text.replace(wrong, right))
    with pytest.raises(ServerStopped, match=reason), start_server(triton_server, repository):
        pytest.fail("the server started")


@pytest.mark.parametrize("damage", ["truncated", "missing"])
def test_a_broken_graph_says_why(triton_server: Server, tmp_path: Path, damage: str) -> None:
    repository = write_tensor_package(tmp_path / "package") / "model_repository"
    graph = repository / "tiny" / "1" / "model.onnx"
    content = graph.read_bytes()
    graph.unlink()
    if damage == "truncated":
        graph.write_bytes(content[:50])
    reason = "Protobuf parsing failed" if damage == "truncated" else "no model file at .*model.onnx"
    with pytest.raises(ServerStopped, match=reason), start_server(triton_server, repository):
        pytest.fail("the server started")


def test_a_python_error_is_told(triton_server: Server, tmp_path: Path) -> None:
    repository = write_text_package(tmp_path / "package") / "model_repository"
    (repository / "letters-tokenizer" / "1" / "model.py").write_text("import no_such_module\n")
    reason = "model 'letters-tokenizer': ModuleNotFoundError: No module named 'no_such_module'"
    with pytest.raises(ServerStopped, match=reason), start_server(triton_server, repository):
        pytest.fail("the server started")


def test_a_port_in_use_is_refused(triton_server: Server, packages: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with (
            pytest.raises(UsageError, match=f"port {port} is in use"),
            start_server(triton_server, packages / "tensors" / "model_repository", ports=Ports(http=port)),
        ):
            pytest.fail("the server started")


def test_nothing_stays_behind(
    triton_server: Server, packages: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    memory_before = set(Path("/dev/shm").iterdir())
    with start_server(triton_server, packages / "text" / "model_repository") as server:
        children = _processes_of_group(server.pid)
        assert len(children) >= 3, "the server and one stub a Python model"
        assert any(tmp_path.iterdir())
    assert not any(tmp_path.iterdir())
    mine = {path for path in set(Path("/dev/shm").iterdir()) - memory_before if path.name.startswith("pack_")}
    assert not mine
    assert not _processes_of_group(server.pid)


def test_a_killed_pack_leaves_no_server(triton_server: Server, packages: Path, tmp_path: Path) -> None:
    program = (
        "import sys, time\nfrom pathlib import Path\n"
        "from packc.server.environment import require_server\nfrom packc.server.process import start_server\n"
        "with start_server(require_server(), Path(sys.argv[1])) as server:\n"
        "    print(server.pid, flush=True)\n    time.sleep(60)\n"
    )
    command = [sys.executable, "-c", program, str(packages / "text" / "model_repository")]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env={**os.environ, "TMPDIR": str(tmp_path)}
    ) as pack:
        assert pack.stdout is not None
        group = int(pack.stdout.readline())
        pack.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 10
    while _processes_of_group(group) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not _processes_of_group(group)


def test_no_server_at_a_url() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    for protocol in ("http", "grpc"):
        with (
            pytest.raises(MissingError, match="no server answers"),
            connect(f"{protocol}://127.0.0.1:{port}") as client,
        ):
            client.server_version()
    with pytest.raises(MissingError, match="no server answers"):
        run_load(f"http://127.0.0.1:{port}", "tiny", [{"x": np.zeros((1, WIDTH), np.float32)}], Traffic())


def test_unbatched_models_and_answers_that_come_in_pieces(triton_server: Server, tmp_path: Path) -> None:
    from packc.package.pipelines.triton_model import write_models

    graph = make_scaling_graph(tmp_path / "model.onnx")
    unbatched = make_graph_model("flat", graph, max_batch_size=0)
    del unbatched.config.input[:], unbatched.config.output[:]
    for side, name in (("input", "x"), ("output", "y")):
        getattr(unbatched.config, side).add(name=name, data_type="TYPE_FP32", dims=[-1, WIDTH])
    write_models((unbatched,), tmp_path / "repository")
    x = np.ones((3, WIDTH), np.float32)
    with start_server(triton_server, tmp_path / "repository") as server, connect(server.http_url) as client:
        np.testing.assert_array_equal(client.infer("flat", {"x": x})["y"], x * 2)
        large = [{"x": np.full((100_000, WIDTH), i, np.float32)} for i in range(4)]
        answers = ask_all(server.http_url, "flat", large, Traffic(concurrency=2))
        assert [(answer["y"].shape, answer["y"].max()) for answer in answers] == [
            ((100_000, WIDTH), 2 * i) for i in range(4)
        ]
        assert run_load(server.http_url, "flat", large, Traffic(), min_requests=20, min_seconds=0.1).errors == 0


def _processes_of_group(group: int) -> list[int]:
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        if int(fields[2]) == group and fields[0] != "Z":
            found.append(int(stat.parent.name))
    return found


def test_a_name_chooses_another_configuration_where_a_model_has_one(triton_server: Server, tmp_path: Path) -> None:
    """As a combined package has it: no name within, the artifact another file, other models as they are."""
    repository = write_text_package(tmp_path / "package") / "model_repository"
    folder = repository / "letters-model"
    make_scaling_graph(folder / "1" / "model.l4.onnx", 3.0)
    config = read_config(folder)
    config.ClearField("name")
    config.default_model_filename = "model.l4.onnx"
    (folder / "configs").mkdir()
    (folder / "configs" / "l4.pbtxt").write_text(print_config(config))
    request = {"text": np.array([[b"a cat"]], dtype=object)}
    answers = []
    for name in (None, "l4"):
        with start_server(triton_server, repository, config_name=name) as server, connect(server.http_url) as client:
            answers.append(client.infer("letters", request)["embedding"])
    np.testing.assert_array_equal(answers[1], answers[0] * np.float32(1.5))
