"""The load generator's own process: one thread, one epoll loop, raw keep-alive sockets, the standard library alone.

It shares the machine with the server that it measures, so it has to be lean: requests are encoded beforehand and
answers are only counted, which costs 60 to 90 us of CPU a request.

`python load_child.py FOLDER` reads load.json and requests.bin there (see `load.py`, which writes them) and leaves
result.json, times.bin (float64: seconds since the start of each answered request, then their latencies in ms) and,
with `keep`, answers.bin.
"""

from __future__ import annotations

import ctypes
import json
import random
import selectors
import signal
import socket
import sys
import time
from array import array
from collections.abc import Iterator
from pathlib import Path

PR_SET_PDEATHSIG = 1
_RECEIVE_BYTES = 1 << 18
_ABORT_AFTER_ERRORS = 20
"""Consecutive failures after which the run is given up."""


class Connection:
    """One keep-alive connection: at most one request in flight."""

    def __init__(self, address: tuple[str, int]) -> None:
        self.address = address
        self.socket = self._connect()
        self.request = -1
        self.due = 0.0
        self.buffer = bytearray()
        self.length = -1
        """Bytes of the whole answer; -1 until its head is here."""

    def _connect(self) -> socket.socket:
        connected = socket.create_connection(self.address, timeout=30)
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connected

    def reconnect(self) -> None:
        """Replaces a broken connection."""
        self.socket.close()
        self.socket = self._connect()

    def send(self, index: int, due: float, body: memoryview) -> None:
        """Sends request `index`, which counts from time `due`."""
        self.request, self.due, self.length = index, due, -1
        self.buffer.clear()
        self.socket.sendall(body)

    def receive(self) -> bool:
        """Takes what has arrived; whether the answer is whole. Raises ConnectionError when the server hung up."""
        chunk = self.socket.recv(_RECEIVE_BYTES)
        if not chunk:
            raise ConnectionError("the server closed the connection")
        self.buffer += chunk
        if self.length < 0 and (end := self.buffer.find(b"\r\n\r\n")) >= 0:
            self.length = end + 4 + read_body_length(bytes(self.buffer[:end]))
        return 0 <= self.length <= len(self.buffer)


def read_body_length(head: bytes) -> int:
    """Bytes of the body, by an answer's head; Triton's Inference-Header-Content-Length is that of a part of it.

    Raises ConnectionError where the head does not say.
    """
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    raise ConnectionError("the server answered without a Content-Length")


class Run:
    """One run: what to send, when, and what came back."""

    def __init__(self, folder: Path) -> None:
        job = json.loads((folder / "load.json").read_text())
        data = memoryview((folder / "requests.bin").read_bytes())
        ends = job["ends"]
        bodies = [data[start:end] for start, end in zip([0, *ends[:-1]], ends, strict=True)]
        self.bodies = [body for body in bodies for _ in range(job["repeats"])]
        self.address = (str(job["host"]), int(job["port"]))
        self.connections = int(job["connections"])
        self.rate_per_s = float(job["rate_per_s"])
        self.warmup = int(job["warmup"])
        self.requests = int(job["requests"])
        self.min_seconds, self.max_seconds = float(job["min_seconds"]), float(job["max_seconds"])
        self.answers: dict[int, bytes] | None = {} if job["keep"] else None
        self.ended = array("d")
        self.latencies_ms = array("d")
        self.errors = 0
        self.first_error = ""
        self.consecutive_errors = 0
        self.sent = 0
        self.counting_since = 0.0

    def execute(self) -> None:
        """Sends until enough was answered or the time is over."""
        # epoll rounds timeouts up to whole milliseconds, which would make every scheduled request late
        selector = selectors.SelectSelector() if self.rate_per_s else selectors.DefaultSelector()
        idle: list[Connection] = []
        opened = 0
        self.counting_since = started = time.perf_counter()
        schedule = self._schedule(started)
        due = next(schedule)
        while True:
            now = time.perf_counter()
            stop = self._is_done(now)
            while not stop and due <= now and (idle or opened < self.connections):
                if not idle:
                    idle.append(Connection(self.address))
                    selector.register(idle[-1].socket, selectors.EVENT_READ, idle[-1])
                    opened += 1
                idle.pop().send(self.sent, due or now, self.bodies[self.sent % len(self.bodies)])
                self.sent += 1
                due = next(schedule)
                stop = self._is_done(now)
            if stop and len(idle) == opened:
                break
            if now - started > 2 * self.max_seconds + 60:
                raise TimeoutError(f"{opened - len(idle)} requests were not answered")
            is_waiting_for_time = not stop and due > now
            for key, _ in selector.select(due - now if is_waiting_for_time else 1.0):
                if self._take(key.data, selector):
                    idle.append(key.data)
        for connection in idle:
            connection.socket.close()

    def _schedule(self, started: float) -> Iterator[float]:
        """When requests are due: at once (0) in a closed loop, else like independent clients (a Poisson process)."""
        generator = random.Random(0)
        due = started
        while True:
            if self.rate_per_s:
                due += generator.expovariate(self.rate_per_s)
                yield due
            else:
                yield 0.0

    def _is_done(self, now: float) -> bool:
        if self.consecutive_errors >= _ABORT_AFTER_ERRORS:
            return True
        if self.sent < self.warmup:
            return False
        if self.sent == self.warmup:
            self.counting_since = now
        elapsed = now - self.counting_since
        return elapsed > self.max_seconds or (self.sent - self.warmup >= self.requests and elapsed >= self.min_seconds)

    def _take(self, connection: Connection, selector: selectors.BaseSelector) -> bool:
        """Reads from `connection`; whether its request is over, well or not."""
        try:
            if not connection.receive():
                return False
        except OSError as error:
            self._count_error(str(error))
            selector.unregister(connection.socket)
            connection.reconnect()
            selector.register(connection.socket, selectors.EVENT_READ, connection)
            return True
        now = time.perf_counter()
        if connection.buffer[9:12] != b"200":
            self._count_error(bytes(connection.buffer).decode(errors="replace").replace("\r\n", " ")[:500])
            return True
        self.consecutive_errors = 0
        if connection.request >= self.warmup:
            self.ended.append(now - self.counting_since)
            self.latencies_ms.append((now - connection.due) * 1e3)
            if self.answers is not None:
                self.answers[connection.request - self.warmup] = bytes(connection.buffer)
        return True

    def _count_error(self, text: str) -> None:
        self.errors += 1
        self.consecutive_errors += 1
        self.first_error = self.first_error or text


def main(folder: Path) -> None:
    run = Run(folder)
    failure = ""
    try:
        run.execute()
    except OSError as error:
        failure = str(error)
    with (folder / "times.bin").open("wb") as file:
        run.ended.tofile(file)
        run.latencies_ms.tofile(file)
    ends = []
    if run.answers is not None:
        with (folder / "answers.bin").open("wb") as file:
            for index in range(run.sent - run.warmup):
                file.write(run.answers.get(index, b""))
                ends.append(file.tell())
    result = {
        "errors": run.errors,
        "first_error": run.first_error,
        "failure": failure,
        "cpu_s": time.process_time(),
        "answer_ends": ends,
    }
    (folder / "result.json").write_text(json.dumps(result))


if __name__ == "__main__":
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)  # a killed pack leaves no load running
    main(Path(sys.argv[1]))
