"""A short load on a package, to compare ways of serving it; `verify` has the last word."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

from packc.cache import Cache
from packc.package.golden import load_golden
from packc.samples import RawSamples
from packc.server.environment import require_server
from packc.server.load import LoadResult, Traffic, run_load
from packc.server.process import start_server
from packc.server.requests import batch_requests
from packc.server.verify import Evaluation, load_requests

PROBE_S = 2.0
MOST_S = 8.0


@contextlib.contextmanager
def probe_package(
    package: Path,
    model: str,
    batch: int,
    *,
    evaluation: Evaluation,
    traffic_data: RawSamples | None,
    warm_instances: int = 0,
    cache: Cache | None = None,
) -> Iterator[Callable[[Traffic], LoadResult]]:
    """Loads the package in a real server; what is yielded sends it the requests of `verify_package`, for 2 to 8 s.

    On a GPU, `warm_instances` are those that have to have seen each payload before the first load counts. Answers are
    not looked at. Raises ServerStopped when the package does not load, ServerFailed when requests fail.
    """
    requests = batch_requests(load_requests(load_golden(package / "golden"), evaluation, traffic_data), batch)
    with start_server(require_server(cache), package / "model_repository", cache=cache) as running:
        cold = [warm_instances]

        def probe(traffic: Traffic) -> LoadResult:
            return run_load(
                running.http_url,
                model,
                requests,
                traffic,
                batch=batch,
                warm_instances=cold.pop() if cold else 0,
                min_seconds=PROBE_S,
                max_seconds=MOST_S,
            )

        yield probe
