"""Runs a tritonserver over a model repository: strict, on loopback, and gone without a trace afterwards."""

from __future__ import annotations

import contextlib
import fcntl
import http.client
import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal

from packc.cache import Cache
from packc.errors import PackError, UsageError
from packc.server.environment import Server
from packc.server.libraries import add_libraries
from packc.server.log import PORT_IN_USE, explain_failure

log = logging.getLogger(__name__)

ControlMode = Literal["none", "explicit"]

_EXIT_TIMEOUT_S = 5
_PORT_ATTEMPTS = 3
_RESPONSE_CACHE_BYTES = 64 * 2**20
_SCRATCH_GRACE_S = 60
_SCRATCH_PREFIX = "pack-server-"
_LAUNCH = (
    "import ctypes, os, signal, sys\n"
    "ctypes.CDLL(None).prctl(1, signal.SIGKILL)\n"  # PR_SET_PDEATHSIG: a killed pack leaves no server behind
    "if os.getppid() != int(sys.argv[1]): sys.exit(1)\n"
    "os.execv(sys.argv[2], sys.argv[2:])\n"
)


@dataclass(frozen=True, slots=True)
class RunningServer:
    """A server that is ready. Addresses are `host:port` below their scheme: `http://127.0.0.1:41234`."""

    http_url: str
    grpc_url: str
    metrics_url: str
    pid: int
    log_path: Path
    """Gone once the server has stopped."""

    def is_alive(self) -> bool:
        """Whether its process still runs."""
        return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None

    def read_log_end(self) -> str:
        """The last lines of its log."""
        return "\n".join(self.log_path.read_text(errors="replace").splitlines()[-10:])


@dataclass(frozen=True, slots=True)
class Ports:
    """TCP ports; 0 picks a free one."""

    http: int = 0
    grpc: int = 0
    metrics: int = 0


class ServerStopped(PackError):
    """The server ended, or did not become ready, while it was needed."""


class _PortTaken(Exception):
    """A port that was free a moment ago is not any more."""


@contextlib.contextmanager
def start_server(
    server: Server,
    repository: Path,
    *,
    ports: Ports = Ports(),
    control: ControlMode = "none",
    response_cache: bool = False,
    graceful: bool = False,
    config_name: str | None = None,
    ready_timeout_s: float = 180.0,
    cache: Cache | None = None,
) -> Iterator[RunningServer]:
    """A tritonserver on 127.0.0.1 with every model of `repository` loaded (none in "explicit" control), until exit.

    The repository is not written to. Libraries that its models require and pack's own server lacks are installed first,
    into `cache` (pack's own where None).
    `response_cache` gives models that ask for one a cache; without, they answer
    anew each time. `config_name` has models use configs/<config_name>.pbtxt where they have one.
    `graceful` lets requests in flight finish at exit, which takes Triton seconds; explicit control is
    always graceful, since only Triton itself can tell the /tmp/folder* of files that were pushed to it from others'.
    Raises UsageError when a port that was asked for is taken or asked for twice, ServerStopped with Triton's own reason
    when a model does not load or the server is not ready within `ready_timeout_s`.
    """
    _check_ports([port for port in (ports.http, ports.grpc, ports.metrics) if port])
    server = add_libraries(server, repository, cache)
    scratch, alive = _make_scratch()
    process: subprocess.Popen[bytes] | None = None
    try:
        for attempt in range(1, _PORT_ATTEMPTS + 1):
            picked = _pick_ports(ports)
            flags = _flags(server, repository, picked, control, response_cache, _shm_prefix(scratch))
            if config_name is not None:
                flags.append(f"--model-config-name={config_name}")
            process = _launch(server, flags, scratch)
            try:
                running = _await_ready(process, picked, scratch / "server.log", ready_timeout_s)
                break
            except _PortTaken:
                if attempt == _PORT_ATTEMPTS:
                    raise _port_error(picked.http) from None
        log.info("Triton is ready: %s", running.http_url)
        yield running
    finally:
        if process is not None:
            _stop(process, graceful or control == "explicit")
        _remove_scratch(scratch)
        alive.close()


def _flags(
    server: Server, repository: Path, ports: Ports, control: ControlMode, response_cache: bool, shm_prefix: str
) -> list[str]:
    flags = [
        f"--model-repository={repository.resolve()}",
        f"--backend-directory={server.backends}",
        f"--model-control-mode={control}",
        "--disable-auto-complete-config",
        "--strict-readiness=true",
        "--exit-on-error=true",
        f"--exit-timeout-secs={_EXIT_TIMEOUT_S}",
        "--http-address=127.0.0.1",
        "--grpc-address=127.0.0.1",
        "--metrics-address=127.0.0.1",
        f"--http-port={ports.http}",
        f"--grpc-port={ports.grpc}",
        f"--metrics-port={ports.metrics}",
        "--allow-metrics=true",
        f"--backend-config=python,shm-region-prefix-name={shm_prefix}",
    ]
    if response_cache and server.caches is not None:
        flags += [f"--cache-directory={server.caches}", f"--cache-config=local,size={_RESPONSE_CACHE_BYTES}"]
    return flags


def _launch(server: Server, flags: list[str], scratch: Path) -> subprocess.Popen[bytes]:
    temporary = scratch / "tmp"
    temporary.mkdir(exist_ok=True)
    environment = {
        **os.environ,
        **server.variables,
        "TMPDIR": str(temporary),
        "PYTHONDONTWRITEBYTECODE": "1",  # no __pycache__ in the repository
    }
    environment.pop("PYTHONPATH", None)
    environment.pop("PYTHONHOME", None)
    with (scratch / "server.log").open("wb") as output:
        return subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _LAUNCH, str(os.getpid()), str(server.executable), *flags],
            env=environment,
            cwd=scratch,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def _await_ready(
    process: subprocess.Popen[bytes], ports: Ports, log_path: Path, ready_timeout_s: float
) -> RunningServer:
    deadline = time.monotonic() + ready_timeout_s
    while not _is_ready(ports.http):
        if process.poll() is not None:
            text = log_path.read_text(errors="replace")
            if PORT_IN_USE in text:
                raise _PortTaken
            raise ServerStopped(f"Triton did not start: {explain_failure(text, process.returncode)}")
        if time.monotonic() > deadline:
            text = log_path.read_text(errors="replace")
            raise ServerStopped(
                f"Triton was not ready within {ready_timeout_s:.0f} s: {explain_failure(text, None)}",
                hint="a model that takes longer to load needs a longer limit; one that hangs shows its last step above",
            )
        time.sleep(0.05)
    return RunningServer(
        http_url=f"http://127.0.0.1:{ports.http}",
        grpc_url=f"grpc://127.0.0.1:{ports.grpc}",
        metrics_url=f"http://127.0.0.1:{ports.metrics}/metrics",
        pid=process.pid,
        log_path=log_path,
    )


def _is_ready(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/v2/health/ready", headers={"Connection": "close"})
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def _make_scratch() -> tuple[Path, IO[bytes]]:
    """A folder for one server's log and temporary files, and the lock that says that it is in use."""
    for abandoned in Path(tempfile.gettempdir()).glob(f"{_SCRATCH_PREFIX}*"):
        with contextlib.suppress(OSError), (abandoned / "lock").open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if time.time() - abandoned.stat().st_mtime > _SCRATCH_GRACE_S:  # else its maker is about to lock it
                _remove_scratch(abandoned)
    scratch = Path(tempfile.mkdtemp(prefix=_SCRATCH_PREFIX))
    alive = (scratch / "lock").open("wb")
    fcntl.flock(alive, fcntl.LOCK_EX)
    return scratch, alive


def _remove_scratch(scratch: Path) -> None:
    for leftover in Path("/dev/shm").glob(f"{_shm_prefix(scratch)}*"):
        leftover.unlink(missing_ok=True)
    shutil.rmtree(scratch, ignore_errors=True)


def _shm_prefix(scratch: Path) -> str:
    return f"pack_{scratch.name.removeprefix(_SCRATCH_PREFIX)}_"


def _stop(process: subprocess.Popen[bytes], graceful: bool) -> None:
    """Ends the server and its whole process group."""
    if graceful and process.poll() is None:
        process.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_EXIT_TIMEOUT_S + 5)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _pick_ports(wanted: Ports) -> Ports:
    with contextlib.ExitStack() as held:  # all at once, or the same port could come twice
        picked = []
        for port in (wanted.http, wanted.grpc, wanted.metrics):
            probe = held.enter_context(socket.socket())
            if not port:
                probe.bind(("127.0.0.1", 0))
            picked.append(port or int(probe.getsockname()[1]))
    return Ports(*picked)


def _check_ports(wanted: list[int]) -> None:
    if doubled := [port for port in wanted if wanted.count(port) > 1]:
        raise UsageError(f"port {doubled[0]} is asked for twice", hint="HTTP, gRPC and metrics each need their own")
    for port in wanted:
        if not _is_free(port):
            raise _port_error(port)


def _port_error(port: int) -> UsageError:
    return UsageError(f"port {port} is in use on this machine", hint="choose another port, or 0 for any free one")
