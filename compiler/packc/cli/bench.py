"""`pack bench`: load on a package or on a server that runs already."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from packc.cli.console import print_json
from packc.cli.packages import find_repository, find_servable, read_member
from packc.cli.traffic import say_traffic
from packc.errors import UsageError
from packc.package.manifest_file import read_manifest

if TYPE_CHECKING:
    from packc.samples import Sample
    from packc.server.load import LoadResult

PERCENTILES = (50.0, 90.0, 95.0, 99.0)


@click.command()
@click.argument("folder", metavar="[DIR]", required=False, type=click.Path(path_type=Path))
@click.option("--url", help="http:// address of a server that runs already; one is started for DIR otherwise.")
@click.option("--target", help="Of a package for several GPUs, the target that this machine is; else its first.")
@click.option("--model", help="The model to ask; the package's own otherwise.")
@click.option("--concurrency", type=click.IntRange(1, 4096), help="Clients that each wait for their answer.")
@click.option("--rate", "rate_per_s", type=click.FloatRange(0, min_open=True), help="Requests a second instead.")
@click.option("--batch", type=click.IntRange(min=1), help="Samples in one request.")
@click.option("--seconds", type=click.FloatRange(min=0.1), default=5.0, show_default=True, help="How long to measure.")
@click.option(
    "--data", type=click.Path(path_type=Path), help="Texts, images or tensors to send; the golden requests otherwise."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def bench(
    folder: Path | None,
    url: str | None,
    target: str | None,
    model: str | None,
    concurrency: int | None,
    rate_per_s: float | None,
    batch: int | None,
    seconds: float,
    data: Path | None,
    as_json: bool,
) -> None:
    """Measure latency and throughput through a server, for the package in DIR or the model at --url.

    The traffic is the package's own workload where the options do not say otherwise. Without a package and --data,
    requests are made up from the model's inputs.

    The server is warm, as for the package's own figures: some requests come first that do not count, and for a package
    on a GPU each distinct one several times. Of a model at --url without DIR nobody knows what it computes on: it gets
    the few alone, and is measured as it is.
    """
    from packc.server.load import WARM_CALLS, Traffic, run_load
    from packc.server.requests import batch_requests
    from packc.server.verify import Workload, recall_workload

    if concurrency and rate_per_s:
        raise UsageError("give --concurrency or --rate, not both")
    package = find_servable(folder) if folder else None
    if package is None and (url is None or model is None):
        raise UsageError("give a package, or --url and --model")
    if package is None and target is not None:
        raise UsageError("--target is of a package: give it too")
    workload = Workload(Traffic(), 1, 99.0)
    if package is not None:
        manifest = read_manifest(package)
        own = read_member(package, manifest, target) if target else manifest
        model, workload = model or manifest.model, recall_workload(own if own.verdict.chosen else manifest)
    assert model is not None
    traffic = workload.traffic
    if concurrency or rate_per_s:
        traffic = Traffic(concurrency or 1, rate_per_s or 0.0)
    samples = batch or workload.batch
    warm_calls = WARM_CALLS * workload.warm_instances
    with _reach(package, url, target) as address:
        requests = batch_requests(_choose_requests(address, model, package, data), samples)
        result = run_load(
            address,
            model,
            requests,
            traffic,
            batch=samples,
            warm_instances=workload.warm_instances,
            min_requests=1,
            min_seconds=seconds,
            max_seconds=seconds,
        )
    if as_json:
        print_json({"schema": 1, "url": url, "model": model, "warm_calls": warm_calls, **_describe(result)})
        return
    _print(model, result)
    if remark := _say_warmth(warm_calls, knows_device=package is not None):
        click.echo(f"  warm-up   {remark}")


@contextlib.contextmanager
def _reach(package: Path | None, url: str | None, target: str | None) -> Iterator[str]:
    from packc.server.devices import require_gpu
    from packc.server.environment import require_server
    from packc.server.process import start_server

    if url is not None:
        yield url
        return
    assert package is not None
    repository = find_repository(package)
    require_gpu(repository)
    with start_server(require_server(), repository, config_name=target) as running:
        yield running.http_url


def _choose_requests(url: str, model: str, package: Path | None, data: Path | None) -> list[Sample]:
    from packc.package.golden import load_golden
    from packc.server.client import connect
    from packc.server.requests import generate_request, golden_requests, read_requests

    if package is not None and data is None:
        return golden_requests(load_golden(package / "golden"))
    with connect(url) as client:
        inputs, _ = client.describe_model(model)
    return read_requests(data, inputs) if data is not None else [generate_request(inputs)]


def _say_warmth(warm_calls: int, *, knows_device: bool) -> str | None:
    """What the server had seen before anything counted; None where that makes no difference, on a CPU."""
    if warm_calls:
        return f"each distinct request {warm_calls} times first, as a GPU is slow at what it has not seen"
    if not knows_device:
        return "a few requests only: a GPU that has not seen them is slower at first; give the package for a warm one"
    return None


def _describe(result: LoadResult) -> dict[str, object]:
    return {
        "concurrency": result.concurrency,
        "rate_per_s": result.rate_per_s,
        "batch": result.batch,
        "requests": len(result.latencies_ms),
        "errors": result.errors,
        "seconds": result.elapsed_s,
        "requests_per_s": result.requests_per_s,
        "samples_per_s": result.samples_per_s,
        **{f"p{percentile:g}_ms": result.percentile_ms(percentile) for percentile in PERCENTILES},
        "max_ms": result.latencies_ms[-1],
        "noisy": result.noisy,
    }


def _print(model: str, result: LoadResult) -> None:
    traffic = say_traffic(result.concurrency, result.rate_per_s)
    click.echo(f"{model}: {traffic}, batch {result.batch}, {len(result.latencies_ms)} requests")
    latencies = "  ".join(f"p{percentile:g} {result.percentile_ms(percentile):.2f}" for percentile in PERCENTILES)
    click.echo(f"  latency   {latencies}  max {result.latencies_ms[-1]:.2f} ms")
    click.echo(f"  speed     {result.requests_per_s:.0f} requests/s, {result.samples_per_s:.0f} samples/s")
    if result.errors:
        click.echo(f"  errors    {result.errors}: {result.first_error}")
    if result.noisy:
        click.echo("  note      noisy: latency drifted during the run, other work may share the machine")
