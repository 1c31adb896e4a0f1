"""Starting and stopping, with a stand-in for tritonserver; e2e/test_server.py has the real one."""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from pathlib import Path

import pytest

from packc.cache import Cache
from packc.errors import UsageError
from packc.server import process
from packc.server.environment import Server
from packc.server.process import Ports, ServerStopped, start_server

STAND_IN = """#!{python}
import http.server, os, subprocess, sys
flags = dict(flag[2:].split("=", 1) for flag in sys.argv[1:] if "=" in flag)
print("flags", " ".join(sys.argv[1:]), flush=True)
{behaviour}
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()
    def log_message(self, *arguments):
        pass
http.server.HTTPServer((flags["http-address"], int(flags["http-port"])), Handler).serve_forever()
"""


def make_server(tmp_path: Path, behaviour: str = "") -> Server:
    executable = tmp_path / "tritonserver"
    executable.write_text(STAND_IN.format(python=sys.executable, behaviour=behaviour))
    executable.chmod(0o755)
    return Server(executable, tmp_path, tmp_path / "caches", {"STAND_IN": str(tmp_path)}, "PATH")


@pytest.fixture(autouse=True)
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "scratch"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    return folder


def test_libraries_of_models_go_into_the_given_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server, cache, given = make_server(tmp_path), Cache(tmp_path / "cache"), list[object]()
    monkeypatch.setattr(process, "add_libraries", lambda *arguments: given.extend(arguments) or server)
    with start_server(server, tmp_path, cache=cache):
        assert given == [server, tmp_path, cache]


def test_starts_strict_and_local_and_cleans_up(tmp_path: Path, scratch: Path) -> None:
    with start_server(make_server(tmp_path), tmp_path) as running:
        said = running.log_path.read_text()
        assert running.is_alive()
        assert len({running.http_url, running.grpc_url, running.metrics_url}) == 3
        assert list(scratch.iterdir()) == [running.log_path.parent]
    for flag in (
        f"--model-repository={tmp_path}",
        "--disable-auto-complete-config",
        "--strict-readiness=true",
        "--exit-on-error=true",
        "--model-control-mode=none",
        "--http-address=127.0.0.1",
        "--grpc-address=127.0.0.1",
        "--metrics-address=127.0.0.1",
    ):
        assert flag in said
    assert "--cache-config" not in said
    assert not list(scratch.iterdir())
    assert not Path(f"/proc/{running.pid}").exists()


def test_the_response_cache_is_on_when_asked_for(tmp_path: Path) -> None:
    with start_server(make_server(tmp_path), tmp_path, response_cache=True, control="explicit") as running:
        said = running.log_path.read_text()
    assert "--cache-config=local,size=" in said
    assert "--model-control-mode=explicit" in said


def test_a_name_chooses_other_configurations(tmp_path: Path) -> None:
    with start_server(make_server(tmp_path), tmp_path, config_name="l4") as running:
        assert "--model-config-name=l4" in running.log_path.read_text()


def test_a_port_in_use_is_refused(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with (
            pytest.raises(UsageError, match=f"port {port} is in use") as caught,
            start_server(make_server(tmp_path), tmp_path, ports=Ports(grpc=port)),
        ):
            pytest.fail("it started")
    assert caught.value.exit_code == 2
    assert "0 for any free one" in (caught.value.hint or "")


def test_a_port_that_is_asked_for_twice_is_refused(tmp_path: Path) -> None:
    with (
        pytest.raises(UsageError, match="port 18000 is asked for twice"),
        start_server(make_server(tmp_path), tmp_path, ports=Ports(http=18000, grpc=18000)),
    ):
        pytest.fail("it started")


def test_a_port_that_is_taken_meanwhile_is_tried_again(tmp_path: Path) -> None:
    once = (
        "marker = os.environ['STAND_IN'] + '/tried'\n"
        "if not os.path.exists(marker):\n"
        "    open(marker, 'w').close()\n"
        "    sys.exit(\"Socket '127.0.0.1:1' already in use\")\n"
    )
    with start_server(make_server(tmp_path, once), tmp_path) as running:
        assert running.is_alive()
    always = make_server(tmp_path, "sys.exit('already in use')")
    with pytest.raises(UsageError, match="in use"), start_server(always, tmp_path):
        pytest.fail("it started")


def test_a_server_that_ends_says_why(tmp_path: Path, scratch: Path) -> None:
    server = make_server(tmp_path, "sys.exit('error: creating server: Internal - no luck')")
    reason = "Triton did not start: creating server: Internal - no luck"
    with pytest.raises(ServerStopped, match=reason), start_server(server, tmp_path):
        pytest.fail("it started")
    assert not list(scratch.iterdir())


def test_a_server_that_hangs_is_given_up(tmp_path: Path) -> None:
    server = make_server(tmp_path, "import time; print('loading the model', flush=True); time.sleep(60)")
    started = time.monotonic()
    reason = r"not ready within 1 s: .*loading the model"
    with pytest.raises(ServerStopped, match=reason), start_server(server, tmp_path, ready_timeout_s=1.0):
        pytest.fail("it started")
    assert time.monotonic() - started < 5


def test_its_children_end_with_it(tmp_path: Path) -> None:
    child = "child = subprocess.Popen(['sleep', '60']); print('child', child.pid, flush=True)"
    with start_server(make_server(tmp_path, child), tmp_path) as running:
        pid = int(running.log_path.read_text().split("child ")[1].split()[0])
        assert Path(f"/proc/{pid}").exists()
    deadline = time.monotonic() + 5
    while _runs(pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not _runs(pid)


def test_what_a_killed_pack_left_is_swept(tmp_path: Path, scratch: Path) -> None:
    debris, fresh = scratch / "pack-server-dead", scratch / "pack-server-young"
    for folder in (debris, fresh):
        folder.mkdir()
        (folder / "lock").touch()
    os.utime(debris, (0, 0))
    region = Path("/dev/shm/pack_dead_0")
    region.touch()
    with start_server(make_server(tmp_path), tmp_path):
        assert not debris.exists()
        assert not region.exists()
        assert fresh.exists(), "its maker may be about to lock it"


def test_a_server_that_dies_is_noticed(tmp_path: Path) -> None:
    with start_server(make_server(tmp_path), tmp_path) as running:
        os.kill(running.pid, signal.SIGKILL)
        deadline = time.monotonic() + 5
        while running.is_alive() and time.monotonic() < deadline:
            time.sleep(0.02)
        assert not running.is_alive()
        assert "flags" in running.read_log_end()


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False
