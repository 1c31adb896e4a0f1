"""The load generator against a stand-in server that answers at once."""

from __future__ import annotations

import http.server
import json
import random
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import pytest

from packc.errors import MissingError, UsageError
from packc.server.load import WARM_CALLS, LoadResult, ServerFailed, Traffic, ask_all, is_noisy, list_distinct, run_load

PAYLOADS = [{"x": np.array([[i]], np.int64)} for i in range(5)]


@dataclass
class StandIn:
    url: str = ""
    seen: list[int] = field(default_factory=list)
    fail_every: int = 0
    delay_s: float = 0.0


class Listening(http.server.ThreadingHTTPServer):
    """Lets as many clients connect at once as a test has: those that are turned away try again seconds later."""

    request_queue_size = 512


@pytest.fixture
def server() -> Iterator[StandIn]:
    stand_in, lock = StandIn(), threading.Lock()

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # head and body in one packet

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            value = int(np.frombuffer(body[-8:], np.int64)[0])
            with lock:
                stand_in.seen.append(value)
                count = len(stand_in.seen)
            time.sleep(stand_in.delay_s)
            if stand_in.fail_every and count % stand_in.fail_every == 0:
                self._send(500, b'{"error": "no luck"}', None)
                return
            data = np.array([[value * 2]], np.int64).tobytes()
            output = {"name": "y", "datatype": "INT64", "shape": [1, 1], "parameters": {"binary_data_size": 8}}
            head = json.dumps({"outputs": [output]}).encode()
            self._send(200, head + data, len(head))

        def _send(self, status: int, body: bytes, head_length: int | None) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            if head_length is not None:
                self.send_header("Inference-Header-Content-Length", str(head_length))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments: object) -> None:
            pass

    with Listening(("127.0.0.1", 0), Handler) as listening:
        listening.daemon_threads = True
        stand_in.url = f"http://127.0.0.1:{listening.server_address[1]}"
        threading.Thread(target=listening.serve_forever, daemon=True).start()
        yield stand_in
        listening.shutdown()


def test_a_closed_loop_counts_what_came_after_the_warm_up(server: StandIn) -> None:
    result = run_load(server.url, "m", PAYLOADS, Traffic(concurrency=3), batch=4, min_requests=60, min_seconds=0)
    assert len(result.latencies_ms) == 60
    assert len(server.seen) == 60 + 20, "twenty to warm up"
    assert set(server.seen) == set(range(5)), "every payload has its turn"
    assert result.errors == 0
    assert result.samples_per_s == pytest.approx(4 * 60 / result.elapsed_s)


def test_a_gpu_sees_each_text_thrice_before_anything_counts(server: StandIn) -> None:
    """Each instance: the payloads are five texts, one of them twice."""
    texts = [{"text": np.array([[b"%8d" % i]], object)} for i in (0, 1, 2, 3, 3)]
    result = run_load(server.url, "m", texts, Traffic(concurrency=2), warm_instances=2, min_requests=30, min_seconds=0)
    assert len(result.latencies_ms) == 30
    assert len(server.seen) == 4 * 2 * WARM_CALLS + 20 + 30
    warmed = server.seen[: 4 * 2 * WARM_CALLS]
    assert all(warmed.count(value) == 2 * WARM_CALLS for value in set(warmed))
    assert set(server.seen) == set(warmed)


def test_tensors_of_one_shape_are_alike_and_texts_are_not() -> None:
    a, b, longer = ({"x": np.full((1, n), i, np.int64)} for i, n in ((1, 4), (2, 4), (1, 5)))
    assert list_distinct([a, b, longer, a]) == [a, longer]
    cat, dog = ({"text": np.array([[text]], object)} for text in (b"cat", b"dog"))
    assert list_distinct([cat, dog, cat]) == [cat, dog]


def test_answers_come_back_in_the_order_of_the_payloads(server: StandIn) -> None:
    answers = ask_all(server.url, "m", PAYLOADS * 4, Traffic(concurrency=4))
    assert [int(answer["y"][0, 0]) for answer in answers] == [0, 2, 4, 6, 8] * 4
    assert sorted(server.seen) == sorted(list(range(5)) * 4), "each was sent once"


def test_a_late_answer_delays_those_behind_it(server: StandIn) -> None:
    """An open loop does not wait: a latency counts from when the request was due."""
    server.delay_s = 0.02
    result = run_load(server.url, "m", PAYLOADS, Traffic(rate_per_s=200.0), min_requests=100, min_seconds=0)
    assert result.requests_per_s > 100, "one client that waits would get 50 a second"
    assert result.percentile_ms(50) >= 20


def test_failures_are_counted_and_too_many_are_an_error(server: StandIn) -> None:
    server.fail_every = 150
    result = run_load(server.url, "m", PAYLOADS, Traffic(concurrency=2), min_requests=200, min_seconds=0)
    assert result.errors == 1
    assert "no luck" in result.first_error
    server.fail_every = 2
    with pytest.raises(ServerFailed, match=r"failed \d+ of \d+ requests under load: .*no luck"):
        run_load(server.url, "m", PAYLOADS, Traffic(), min_requests=200, min_seconds=0)
    with pytest.raises(ServerFailed, match="no luck"):
        ask_all(server.url, "m", PAYLOADS, Traffic())


def test_time_is_limited(server: StandIn) -> None:
    server.delay_s = 0.05
    result = run_load(server.url, "m", PAYLOADS, Traffic(), min_requests=10_000, min_seconds=0.2, max_seconds=0.5)
    assert 5 <= len(result.latencies_ms) <= 12


def test_addresses_that_cannot_be_measured() -> None:
    with pytest.raises(MissingError, match=r"no server answers at http://127\.0\.0\.1:9"):
        run_load("http://127.0.0.1:9", "m", PAYLOADS, Traffic())
    with pytest.raises(UsageError, match="plain HTTP"):
        run_load("grpc://127.0.0.1:9", "m", PAYLOADS, Traffic())


def test_percentiles_are_of_real_requests() -> None:
    result = LoadResult(tuple(float(i) for i in range(1, 201)), 2.0, 1, 0.0, 3, 0, "", False, 0.1)
    assert (result.percentile_ms(50), result.percentile_ms(99), result.percentile_ms(99.9)) == (100, 198, 200)
    assert result.percentile_ms(0.1) == 1
    assert (result.requests_per_s, result.samples_per_s) == (100, 300)


def test_noise_is_drift_over_time() -> None:
    steady = [1.0, 3.0] * 100
    assert not is_noisy(steady)
    assert is_noisy([1.0] * 100 + [1.2] * 100)
    assert is_noisy([1.0] * 3), "too few to tell"
    sizes = random.Random(0)
    assert not any(is_noisy([sizes.lognormvariate(0, 0.5) for _ in range(200)]) for _ in range(20)), (
        "chance is not drift"
    )
