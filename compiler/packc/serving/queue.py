"""Predicts what clients see of a plan: requests that wait, batches that form, instances that compute.

A small event simulation over the measured curve and the real lengths; the same arguments always predict the same. It
knows three things that a formula does not: Triton batches neighbours in the queue only, requests of one length only
unless a front pads them, and clients that wait for their answers send no others meanwhile.
"""

from __future__ import annotations

import heapq
import random
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from packc.measure.curve import ServiceCurve
from packc.measure.statistics import percentile_ms

Cut = Callable[[Sequence[int]], Sequence[Sequence[int]]]
"""Lengths of the requests in a batch -> their positions, call by call."""

REQUESTS = 1000
"""Simulated for one prediction at least, a tenth of them before it counts."""
TURNS = 3
"""That count at least, of as many requests as may be answered at one moment; one turn before them does not."""
FIT_STEPS = 14


@dataclass(frozen=True, slots=True)
class Load:
    """What arrives: `clients` that each wait for their answer, or `rate_per_s` that wait for nobody."""

    clients: int
    rate_per_s: float
    batch: int
    """Samples in one request."""
    lengths: tuple[int, ...]
    """Tokens of each request (its longest sample), sent round and round; (0,) where requests have no length."""


@dataclass(frozen=True, slots=True)
class Batching:
    """What a plan comes to for requests in a queue."""

    instances: int
    threads: int
    most: int
    """Samples in a batch that the queue makes."""
    delay_ms: float
    mixes_lengths: bool
    """Whether requests of different lengths share a batch, padded to the longest."""
    skips_padding: bool
    """Whether the graph computes on the real tokens only."""
    cut: Cut | None = None
    """How a front that mixes lengths lays a batch out; None where a batch is one call."""
    length_multiple: int = 1
    """Lengths are padded up to it."""
    is_fed: bool = False
    """Whether the instances compute on another device than the host's cores."""


@dataclass(frozen=True, slots=True)
class LoadFigures:
    """What clients see of a plan. Whether it was predicted or served is said by the name of what holds it."""

    throughput_per_s: float
    """Samples a second."""
    p50_ms: float
    latency_ms: float
    """At the budget's percentile."""


class ServiceTimes:
    """Measured curves of one candidate as a function: milliseconds of one call, linear between the measured shapes.

    Several curves, of different numbers of copies, are for instances that share a device: a call takes what it took
    beside as many others as are at work.
    """

    def __init__(self, *curves: ServiceCurve) -> None:
        self._grids = [_Grid(curve) for curve in sorted(curves, key=lambda curve: curve.copies)]
        points = [point for curve in curves for point in curve.points]
        self.jitter: tuple[float, ...] = tuple(
            sorted(time / point.p50_ms for point in points for time in point.times_ms)
        )
        """Single calls as multiples of their shape's median, ascending."""

    def call_ms(self, batch: int, length: float, busy: int = 1) -> float:
        """Median time of one call while `busy` instances are at work, itself among them.

        It is that of the fewest copies measured that are not fewer. Beyond the measured shapes, the line of the
        outermost two goes on.
        """
        grid = next((grid for grid in self._grids if grid.copies >= busy), self._grids[-1])
        return grid.find_ms(batch, length)


class _Grid:
    """One curve, interpolated."""

    def __init__(self, curve: ServiceCurve) -> None:
        self.copies = curve.copies
        self._batches = sorted({point.batch for point in curve.points})
        self._lengths = sorted({point.sequence or 0 for point in curve.points})
        at = {(point.batch, point.sequence or 0): point.p50_ms for point in curve.points}
        self._rows = [[at[batch, length] for length in self._lengths] for batch in self._batches]
        self._known: dict[tuple[int, float], float] = {}

    def find_ms(self, batch: int, length: float) -> float:
        if (batch, length) not in self._known:
            by_batch = [_interpolate(self._lengths, row, length) for row in self._rows]
            self._known[batch, length] = max(_interpolate(self._batches, by_batch, batch), 1e-3)
        return self._known[batch, length]


def predict_load(
    times: ServiceTimes, load: Load, batching: Batching, cores: int, request_ms: float, percentile: float
) -> LoadFigures:
    """What `load` would see of `batching` on `cores`, when a request costs `request_ms` beside the model's calls.

    That cost (client, server, tokenizer) is spent on the same cores. Where the instances leave cores free, it is spent
    there, before the request is queued. Else each request takes its share of it from the instances, and waits for the
    rest: one client sees all of it, and many get what the cores can do. Instances that are fed, as on a GPU, spend all
    of it themselves before their calls, so that one can do so while another's call runs.
    """
    latencies_ms, elapsed_ms = _Run(times, load, batching, cores, request_ms).execute()
    return LoadFigures(
        throughput_per_s=1e3 * load.batch * len(latencies_ms) / elapsed_ms,
        p50_ms=percentile_ms(latencies_ms, 50),
        latency_ms=percentile_ms(latencies_ms, percentile),
    )


def fit_request_ms(
    times: ServiceTimes, load: Load, batching: Batching, cores: int, throughput_per_s: float, p50_ms: float
) -> float:
    """The cost of a request beside the model's calls that makes the prediction agree with what was served.

    With clients it agrees in throughput, at a rate (which sets the throughput) in the median. 0 where the server was
    faster than the curve.
    """

    def is_too_dear(request_ms: float) -> bool:
        predicted = predict_load(times, load, batching, cores, request_ms, 50)
        return predicted.p50_ms > p50_ms if load.rate_per_s else predicted.throughput_per_s < throughput_per_s

    low, high = 0.0, p50_ms if load.rate_per_s else 1e3 * load.batch * load.clients / throughput_per_s
    for _ in range(FIT_STEPS):
        middle = (low + high) / 2
        low, high = (low, middle) if is_too_dear(middle) else (middle, high)
    return low


def _interpolate(xs: Sequence[float], ys: Sequence[float], x: float) -> float:
    """`ys` at `x`, linear between the neighbours of `x` in the ascending `xs`, and beyond the ends."""
    if len(xs) == 1:
        return float(ys[0])
    right = min(max(bisect_left(xs, x), 1), len(xs) - 1)
    share = (x - xs[right - 1]) / (xs[right] - xs[right - 1])
    return float(ys[right - 1] + share * (ys[right] - ys[right - 1]))


class _Request(NamedTuple):  # a thousand a prediction: cheaper to make than a frozen dataclass
    sent_ms: float
    queued_ms: float
    """When the model's queue gets it."""
    length: int


_Event = tuple[float, int, _Request | list[_Request] | None]
"""(when, number, what): a request that is queued, a batch that is answered, or the end of a wait for more."""


class _Run:
    """One simulation. Times are in milliseconds since its start."""

    def __init__(self, times: ServiceTimes, load: Load, batching: Batching, cores: int, request_ms: float) -> None:
        self.times, self.load, self.batching = times, load, batching
        taken = 0 if batching.is_fed else batching.instances * batching.threads
        self.spare = [0.0] * max(cores - taken, 0)
        """When each core that the instances leave is free again."""
        shared_ms = 0.0 if self.spare else request_ms * min(1.0, batching.instances / cores)
        self.own_ms = request_ms if batching.is_fed else shared_ms
        """Of a request's cost, what it takes from an instance."""
        self.before_ms = request_ms - self.own_ms
        self.random = random.Random(0)
        self.queue: deque[_Request] = deque()
        self.idle = batching.instances
        self.events: list[_Event] = []
        self.scheduled = 0
        self.sent = 0
        self.due_ms = 0.0
        self.ended: list[tuple[float, float]] = [(0.0, 0.0)]
        """(when a request was answered, its latency), after a first entry for the start."""

    def execute(self) -> tuple[list[float], float]:
        """Latencies of the requests that count, and the time in which they were answered."""
        for _ in range(1 if self.load.rate_per_s else self.load.clients):
            self._send(0.0)
        at_once = self._count_at_once()
        start = max(REQUESTS // 10, at_once)
        end = max(REQUESTS, start + TURNS * at_once)
        while len(self.ended) <= end:
            now, _, what = heapq.heappop(self.events)
            if isinstance(what, _Request):
                self.queue.append(what)
                if self.load.rate_per_s:
                    self._send(now)
            elif what is not None:
                self._answer(what, now)
            self._dispatch(now)
        return [latency for _, latency in self.ended[start + 1 :]], self.ended[-1][0] - self.ended[start][0]

    def _count_at_once(self) -> int:
        """The most requests that are answered at one moment: each client's, or a full batch of every instance."""
        if not self.load.rate_per_s:
            return self.load.clients
        return self.batching.instances * max(1, self.batching.most // self.load.batch)

    def _schedule(self, at_ms: float, what: _Request | list[_Request] | None) -> None:
        self.scheduled += 1  # so that events of one moment keep their order
        heapq.heappush(self.events, (at_ms, self.scheduled, what))

    def _send(self, now: float) -> None:
        """The next request: now, or at a rate like one of many independent clients (a Poisson process)."""
        if self.load.rate_per_s:
            self.due_ms += self.random.expovariate(self.load.rate_per_s) * 1e3
        else:
            self.due_ms = now
        queued_ms = self.due_ms + self.before_ms
        if self.spare:
            queued_ms = max(self.due_ms, heapq.heappop(self.spare)) + self.before_ms
            heapq.heappush(self.spare, queued_ms)
        length = self.load.lengths[self.sent % len(self.load.lengths)]
        self.sent += 1
        self._schedule(queued_ms, _Request(self.due_ms, queued_ms, length))

    def _answer(self, batch: Sequence[_Request], now: float) -> None:
        self.idle += 1
        for request in batch:
            self.ended.append((now, now - request.sent_ms))
            if not self.load.rate_per_s:
                self._send(now)

    def _dispatch(self, now: float) -> None:
        """Gives batches to idle instances, as Triton's dynamic batcher does."""
        while self.idle and self.queue:
            size = self._count_fitting()
            can_grow = size == len(self.queue) and (size + 1) * self.load.batch <= self.batching.most
            wait_until = self.queue[0].queued_ms + self.batching.delay_ms
            if can_grow and now < wait_until:
                self._schedule(wait_until, None)
                return
            batch = [self.queue.popleft() for _ in range(size)]
            self.idle -= 1
            self._schedule(now + self._compute_ms([request.length for request in batch]) + size * self.own_ms, batch)

    def _compute_ms(self, lengths: Sequence[int]) -> float:
        """One call for all of a batch, or as many as the front cuts it into."""
        calls = self.batching.cut(lengths) if self.batching.cut else [range(len(lengths))]
        total_ms = 0.0
        for call in calls:
            inside = [lengths[position] for position in call]
            multiple = self.batching.length_multiple
            padded = -(-max(inside) // multiple) * multiple
            length = sum(inside) / len(inside) if self.batching.skips_padding else padded
            busy = self.batching.instances - self.idle
            call_ms = self.times.call_ms(len(inside) * self.load.batch, length, busy)
            total_ms += call_ms * self.random.choice(self.times.jitter)
        return total_ms

    def _count_fitting(self) -> int:
        """Requests at the head of the queue that share a batch; the first one always goes."""
        most = max(1, min(len(self.queue), self.batching.most // self.load.batch))
        if self.batching.mixes_lengths:
            return most
        first = self.queue[0].length
        return next((i for i in range(1, most) if self.queue[i].length != first), most)
