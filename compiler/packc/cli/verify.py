"""`pack verify`: sends a package through a real server again."""

from __future__ import annotations

import logging
from dataclasses import asdict
from pathlib import Path

import click

from packc.cli.console import print_json
from packc.cli.packages import find_servable, read_combined
from packc.cli.traffic import say_traffic
from packc.errors import BudgetMissed, PackError
from packc.package.manifest import Manifest, ServedRecord
from packc.package.manifest_file import check_files, read_manifest

log = logging.getLogger(__name__)


@click.command()
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--url", "urls", multiple=True, help="A server that has it loaded, http:// and grpc://; none is started.")
@click.option("--target", help="Of a package for several GPUs, the target that this machine is; else its first.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def verify(folder: Path, urls: tuple[str, ...], target: str | None, as_json: bool) -> None:
    """Load the package in DIR in a real Triton, replay its golden requests over HTTP and gRPC, and measure it.

    Nothing is written. Exit code 3 when it answers as it should but slower than its budget, or when its build missed a
    promise; 1 when its files are not those that were built.
    """
    from packc.server.replay import chosen_precision
    from packc.server.verify import recall_workload, verify_package

    package = find_servable(folder)
    whole = read_manifest(package)
    changed = tuple(check_files(package, whole))
    manifest = read_combined(package, whole, target) if target else whole
    for sentence in changed:  # first, as it may be why the server refuses it
        log.warning("%s", sentence)
    workload, precision = recall_workload(manifest), chosen_precision(manifest)
    served = verify_package(package, manifest.model, workload, precision, urls=urls, target=target).record
    missed = _find_miss(manifest, served)
    if as_json:
        print_json(
            {
                "schema": 1,
                "model": manifest.model,
                "package": str(package),
                "met": missed is None,
                "changed": changed,
                "served": asdict(served),
            }
        )
    else:
        _print(manifest, served, changed)
    if changed:
        raise PackError(f"{package} is not what was built: {changed[0]}", hint="build the package again")
    if missed:
        hint = "timing was noisy: verify again while nothing else uses the machine" if served.noisy else None
        raise BudgetMissed(missed, hint=hint)


def _print(manifest: Manifest, served: ServedRecord, changed: tuple[str, ...]) -> None:
    traffic = say_traffic(served.concurrency, served.rate_per_s)
    budget = f" of {manifest.promises.latency_ms:g}" if manifest.promises.latency_ms else ""
    click.echo(f"{manifest.model} for {manifest.target}: {'served' if changed else 'verified'} by {served.server}")
    error = served.golden_max_error
    click.echo(f"  golden    requests answered, {f'off by {error:.2g} at most' if error else 'off by nothing'}")
    click.echo(f"  latency   p{served.percentile:g} {served.latency_ms:.2f} ms{budget}, p50 {served.p50_ms:.2f} ms")
    click.echo(f"  traffic   {traffic}, batch {served.batch}, {served.samples} requests")
    click.echo(f"  speed     {served.throughput_per_s:.0f} samples/s")
    if served.noisy:
        click.echo("  note      noisy: latency drifted, as when other work shares the machine")
    for sentence in changed:
        click.echo(f"  note      {sentence}")


def _find_miss(manifest: Manifest, served: ServedRecord) -> str | None:
    promises = manifest.promises
    if promises.latency_ms and served.latency_ms > promises.latency_ms:
        return (
            f"p{served.percentile:g} is {served.latency_ms:.2f} ms through the server, "
            f"the budget is {promises.latency_ms:g} ms"
        )
    if promises.throughput_per_s and served.throughput_per_s < promises.throughput_per_s:
        return (
            f"throughput is {served.throughput_per_s:.0f} samples/s through the server, "
            f"the budget is {promises.throughput_per_s:g}"
        )
    if manifest.verdict.met is False:
        return f"the build missed a promise: {'; '.join(manifest.verdict.reasons)}"
    return None
