"""The generator's pieces; test_load.py runs it as the process that it is."""

from __future__ import annotations

import ast
import itertools
import json
import os
import select
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from packc.server import load_child
from packc.server.load_child import Connection, Run


def make_run(tmp_path: Path, **changes: object) -> Run:
    job = {
        "host": "127.0.0.1",
        "port": 1,
        "connections": 2,
        "rate_per_s": 0.0,
        "warmup": 2,
        "requests": 4,
        "min_seconds": 1.0,
        "max_seconds": 3.0,
        "ends": [3, 5],
        "keep": False,
        "repeats": 1,
    }
    (tmp_path / "load.json").write_text(json.dumps({**job, **changes}))
    (tmp_path / "requests.bin").write_bytes(b"oneab")
    return Run(tmp_path)


def test_it_needs_the_standard_library_alone() -> None:
    tree = ast.parse(Path(load_child.__file__).read_text())
    imported = {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    imported |= {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    assert {name.split(".")[0] for name in imported} <= sys.stdlib_module_names


def test_requests_are_cut_at_their_ends(tmp_path: Path) -> None:
    assert [bytes(body) for body in make_run(tmp_path).bodies] == [b"one", b"ab"]


def test_a_run_ends_after_enough_requests_and_time(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    assert not run._is_done(100.0), "still warming up"
    run.sent = 2
    assert not run._is_done(100.0), "time counts from here"
    run.sent = 6
    assert not run._is_done(100.5), "enough requests, too little time"
    assert run._is_done(101.0)
    run.sent = 3
    assert not run._is_done(102.9)
    assert run._is_done(103.1), "too much time"
    run.sent, run.consecutive_errors = 0, 20
    assert run._is_done(0.0), "nothing but errors"


def test_arrivals_at_a_rate_are_a_poisson_process(tmp_path: Path) -> None:
    schedule = make_run(tmp_path, rate_per_s=100.0)._schedule(5.0)
    times = [next(schedule) for _ in range(2000)]
    gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
    mean = sum(gaps) / len(gaps)
    assert mean == pytest.approx(0.01, rel=0.1)
    spread = sum((gap - mean) ** 2 for gap in gaps) / len(gaps)
    assert spread**0.5 == pytest.approx(mean, rel=0.1), "as wide as their mean"
    assert next(make_run(tmp_path)._schedule(5.0)) == 0.0, "a closed loop sends at once"


@pytest.mark.parametrize("other", [b"X: y", b"Inference-Header-Content-Length: 3"])
@pytest.mark.parametrize("pieces", [1, 7])
def test_an_answer_is_whole_when_all_of_it_is_here(pieces: int, other: bytes) -> None:
    answer = b"HTTP/1.1 200 OK\r\n" + other + b"\r\ncontent-LENGTH: 11\r\n\r\nhello world"
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        connection = Connection(listening.getsockname())
        server, _ = listening.accept()
        with server, connection.socket:
            connection.send(4, 1.5, memoryview(b"POST"))
            assert server.recv(100) == b"POST"
            size = -(-len(answer) // pieces)
            for start in range(0, len(answer), size):
                server.sendall(answer[start : start + size])
                assert connection.receive() == (start + size >= len(answer))
            assert bytes(connection.buffer) == answer
            server.close()
            with pytest.raises(ConnectionError, match="closed the connection"):
                connection.receive()


def test_an_answer_that_does_not_say_its_length_is_an_error() -> None:
    with pytest.raises(ConnectionError, match="without a Content-Length"):
        load_child.read_body_length(b"HTTP/1.1 200 OK\r\nInference-Header-Content-Length: 3")


PARENT = """
import subprocess, sys
print(subprocess.Popen(sys.argv[1:]).pid, flush=True)
sys.stdin.read()
"""


def test_a_killed_pack_leaves_no_load_running(tmp_path: Path) -> None:
    """It waits on a named pipe for its load.json; opening the other end returns once it does."""
    os.mkfifo(tmp_path / "load.json")
    command = [sys.executable, "-I", "-S", load_child.__file__, str(tmp_path)]
    parent = subprocess.Popen([sys.executable, "-c", PARENT, *command], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    handle = os.open(tmp_path / "load.json", os.O_WRONLY)
    try:
        ended = os.pidfd_open(child)
        parent.kill()
        parent.wait()
        assert select.select([ended], [], [], 10)[0], "it outlived its parent"
        os.close(ended)
    finally:
        os.close(handle)
