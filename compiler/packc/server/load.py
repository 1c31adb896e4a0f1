"""Load on a server: what clients in flight at once, or arriving at a rate, see of latency and throughput.

The generator is `load_child.py`, in a process of its own. What the client burns the server lacks: on 2 cores, against a
model that does nothing, 8 clients, raw sockets cost 62 us of CPU a request and got 5800 requests/s; tritonclient's
threads over HTTP 260 us and 2800/s, over gRPC 250 us and 3000/s, gRPC with asyncio 214 us and 3400/s.
"""

from __future__ import annotations

import json
import math
import subprocess
import sys
import tempfile
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from packc.errors import MissingError, PackError, UsageError
from packc.samples import Sample
from packc.server.client import Answers, decode_answer, encode_request

MIN_REQUESTS = 200
MAX_PAYLOADS = 512
"""Distinct requests that are prepared; a run that needs more sends them again."""
WARM_CALLS = 4
"""Of each payload and instance until a GPU is as fast as it gets: plain, plain again, with a CUDA graph recorded,
replayed."""
MOST_WARM_S = 30.0
_OPEN_LOOP_CONNECTIONS = 256
_NOISY_SPREAD = 0.10
_SLICES = 5


@dataclass(frozen=True, slots=True)
class Traffic:
    """`concurrency` clients that each wait for their answer, or, with `rate_per_s`, arrivals that wait for nobody."""

    concurrency: int = 1
    rate_per_s: float = 0.0


@dataclass(frozen=True, slots=True)
class LoadResult:
    """What the clients saw. With a rate, a latency counts from when the request was due, not from when it was sent."""

    latencies_ms: tuple[float, ...]
    """One an answered request, ascending."""
    elapsed_s: float
    concurrency: int
    rate_per_s: float
    batch: int
    errors: int
    first_error: str
    noisy: bool
    """Latency drifted during the run: see `is_noisy`."""
    client_cpu_s: float

    @property
    def requests_per_s(self) -> float:
        return len(self.latencies_ms) / self.elapsed_s

    @property
    def samples_per_s(self) -> float:
        return self.requests_per_s * self.batch

    def percentile_ms(self, percentile: float) -> float:
        """The smallest latency that at least `percentile` % of the requests did not exceed."""
        return self.latencies_ms[max(0, math.ceil(len(self.latencies_ms) * percentile / 100) - 1)]


def run_load(
    url: str,
    model: str,
    payloads: Sequence[Sample],
    traffic: Traffic,
    *,
    batch: int = 1,
    warm_instances: int = 0,
    min_requests: int = MIN_REQUESTS,
    min_seconds: float = 3.0,
    max_seconds: float = 30.0,
) -> LoadResult:
    """Sends `payloads`, round and round, until `min_requests` were sent and `min_seconds` passed, or `max_seconds`.

    `payloads` are requests of `batch` samples each. Some are sent first as a warm-up that does not count; with
    `warm_instances`, each of another shape or text WARM_CALLS times for each of these, in MOST_WARM_S at most: a GPU
    takes 90 ms more for a length that is new to it. Raises ServerFailed when more than 1 % of the requests fail,
    MissingError when nobody answers at `url`.
    """
    payloads = payloads[:MAX_PAYLOADS]
    if warm_instances:
        _warm_up(url, model, list_distinct(payloads), max(warm_instances, traffic.concurrency), warm_instances)
    with tempfile.TemporaryDirectory(prefix="pack-load-") as name:
        folder = Path(name)
        warmup = max(2 * traffic.concurrency, 20)
        _write_job(
            folder,
            url,
            model,
            payloads,
            traffic,
            warmup=warmup,
            requests=min_requests,
            seconds=(min_seconds, max_seconds),
        )
        result = _run_child(folder, url, max_seconds)
        ended, latencies = _read_times(folder)
        errors = int(result["errors"])
        if not latencies or errors > 0.01 * (len(latencies) + errors):
            raise ServerFailed(
                f"model '{model}' at {url} failed {errors} of {len(latencies) + errors} requests under load: "
                f"{result['first_error']}"
            )
        return LoadResult(
            latencies_ms=tuple(sorted(latencies)),
            elapsed_s=ended[-1],
            concurrency=traffic.concurrency,
            rate_per_s=traffic.rate_per_s,
            batch=batch,
            errors=errors,
            first_error=str(result["first_error"]),
            noisy=is_noisy(latencies),
            client_cpu_s=float(result["cpu_s"]),
        )


def list_distinct(payloads: Sequence[Sample]) -> list[Sample]:
    """The first of each shape; what is encoded, as texts are, has its shape inside, so that each other one counts."""
    found: dict[object, Sample] = {}
    for payload in payloads:
        key = tuple(
            (name, array.shape, array.dtype.str, tuple(array.ravel().tolist()) if array.dtype.hasobject else ())
            for name, array in sorted(payload.items())
        )
        found.setdefault(key, payload)
    return list(found.values())


def _warm_up(url: str, model: str, payloads: Sequence[Sample], concurrency: int, instances: int) -> None:
    """Sends each payload several times in a row, so that every instance has it; whether it fails, the load will say."""
    with tempfile.TemporaryDirectory(prefix="pack-load-") as name:
        folder, repeats = Path(name), WARM_CALLS * instances
        count = repeats * len(payloads)
        traffic, seconds = Traffic(concurrency), (0.0, MOST_WARM_S)
        _write_job(folder, url, model, payloads, traffic, warmup=0, requests=count, seconds=seconds, repeats=repeats)
        _run_child(folder, url, MOST_WARM_S)


def ask_all(url: str, model: str, payloads: Sequence[Sample], traffic: Traffic) -> list[Answers]:
    """Each payload once, under `traffic` as clients would send it; the answers in the order of `payloads`."""
    with tempfile.TemporaryDirectory(prefix="pack-load-") as name:
        folder = Path(name)
        _write_job(
            folder, url, model, payloads, traffic, warmup=0, requests=len(payloads), seconds=(0.0, 3600.0), keep=True
        )
        result = _run_child(folder, url, 3600.0)
        if result["errors"]:
            raise ServerFailed(
                f"model '{model}' at {url} failed {result['errors']} of {len(payloads)} requests: "
                f"{result['first_error']}"
            )
        data = (folder / "answers.bin").read_bytes()
        ends = [int(end) for end in result["answer_ends"]]
        return [decode_answer(data[start:end]) for start, end in zip([0, *ends[:-1]], ends, strict=True)]


def is_noisy(latencies_ms: Sequence[float]) -> bool:
    """Whether latency drifted: the medians of the run's fifths, in order of time, spread by more than 10 % of the
    middle one, beside what so many requests of different sizes spread by chance (three standard errors)."""
    size = len(latencies_ms) // _SLICES
    if size == 0:
        return True
    slices = [sorted(latencies_ms[i * size : (i + 1) * size]) for i in range(_SLICES)]
    medians = sorted(part[size // 2] for part in slices)
    quartile_ranges = sorted(part[size * 3 // 4] - part[size // 4] for part in slices)
    standard_error = 0.93 * quartile_ranges[_SLICES // 2] / math.sqrt(size)  # of a normal sample's median
    return medians[-1] - medians[0] > _NOISY_SPREAD * medians[_SLICES // 2] + 3 * standard_error


def _write_job(
    folder: Path,
    url: str,
    model: str,
    payloads: Sequence[Sample],
    traffic: Traffic,
    *,
    warmup: int,
    requests: int,
    seconds: tuple[float, float],
    keep: bool = False,
    repeats: int = 1,
) -> None:
    address = urlsplit(url)
    if address.scheme != "http" or address.hostname is None:
        raise UsageError(
            f"load is measured over plain HTTP, not on {url}", hint="give the server's http:// address, port 8000"
        )
    port = address.port or 80
    ends = []
    with (folder / "requests.bin").open("wb") as file:
        for payload in payloads:
            body, header_length = encode_request(payload)
            file.write(
                f"POST {address.path.rstrip('/')}/v2/models/{model}/infer HTTP/1.1\r\n"
                f"Host: {address.hostname}:{port}\r\n"
                f"Inference-Header-Content-Length: {header_length}\r\n"
                f"Content-Length: {len(body)}\r\n\r\n".encode()
            )
            file.write(body)
            ends.append(file.tell())
    job = {
        "host": address.hostname,
        "port": port,
        "connections": _OPEN_LOOP_CONNECTIONS if traffic.rate_per_s else traffic.concurrency,
        "rate_per_s": traffic.rate_per_s,
        "warmup": warmup,
        "requests": requests,
        "min_seconds": seconds[0],
        "max_seconds": seconds[1],
        "ends": ends,
        "keep": keep,
        "repeats": repeats,
    }
    (folder / "load.json").write_text(json.dumps(job))


def _run_child(folder: Path, url: str, max_seconds: float) -> Any:
    command = [sys.executable, "-I", "-S", str(Path(__file__).with_name("load_child.py")), str(folder)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=3 * max_seconds + 120, check=False)
    except subprocess.TimeoutExpired:
        raise ServerFailed(f"the server at {url} stopped answering under load") from None
    if done.returncode:
        raise PackError(f"the load generator failed: {done.stderr.strip().splitlines()[-1:]}")
    result = json.loads((folder / "result.json").read_text())
    if failure := result["failure"]:
        if "refused" in str(failure):
            raise MissingError(f"no server answers at {url}", hint="start one with `pack serve DIR`, or mend --url")
        raise ServerFailed(f"the server at {url} failed under load: {failure}")
    return result


def _read_times(folder: Path) -> tuple[list[float], list[float]]:
    """(when each request was answered, its latency): seconds since the start, milliseconds; in order of time."""
    values = array("d", (folder / "times.bin").read_bytes())
    half = len(values) // 2
    return list(values[:half]), list(values[half:])


class ServerFailed(PackError):
    """The server answered requests with errors, or stopped answering."""
