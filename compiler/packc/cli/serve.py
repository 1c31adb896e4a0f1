"""`pack serve`: a package in a real server, until Ctrl-C."""

from __future__ import annotations

import signal
import time
from pathlib import Path
from types import FrameType

import click

from packc.cli.console import LOGGER
from packc.cli.packages import find_package, find_repository, read_member
from packc.errors import PackError, UsageError
from packc.package.manifest_file import read_manifest


@click.command()
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--http-port", type=click.IntRange(0, 65535), default=8000, show_default=True, help="0: any free one.")
@click.option("--grpc-port", type=click.IntRange(0, 65535), default=8001, show_default=True, help="0: any free one.")
@click.option("--metrics-port", type=click.IntRange(0, 65535), default=8002, show_default=True, help="0: any free one.")
@click.option(
    "--explicit", is_flag=True, help="Load nothing at the start, and take `pack push` (explicit model control)."
)
@click.option("--target", help="Of a package for several GPUs, the target that this machine is (--model-config-name).")
def serve(folder: Path, http_port: int, grpc_port: int, metrics_port: int, explicit: bool, target: str | None) -> None:
    """Serve the package or model repository in DIR on this machine until Ctrl-C.

    Only this machine can reach it; to serve others, use the package's Dockerfile.
    """
    from packc.server.devices import require_gpu
    from packc.server.environment import require_server
    from packc.server.process import Ports, start_server

    repository = folder if explicit and folder.is_dir() else find_repository(folder)
    if target is not None:
        _check_target(folder, target)
    require_gpu(repository)
    signal.signal(signal.SIGTERM, _interrupt)
    with start_server(
        require_server(),
        repository,
        ports=Ports(http_port, grpc_port, metrics_port),
        control="explicit" if explicit else "none",
        response_cache=True,
        graceful=True,
        config_name=target,
    ) as running:
        click.echo(f"HTTP     {running.http_url}")
        click.echo(f"gRPC     {running.grpc_url}")
        click.echo(f"metrics  {running.metrics_url}")
        if example := _find_example(folder, running.http_url):
            click.echo(f"\n{example}\n")
        LOGGER.info("Ctrl-C stops it")
        while running.is_alive():
            time.sleep(0.5)
        raise PackError(f"Triton ended by itself; its log ends:\n{running.read_log_end()}")


def _check_target(folder: Path, target: str) -> None:
    """Raises UsageError where the package in `folder` has no such target; of a bare repository nobody knows."""
    try:
        package = find_package(folder)
    except UsageError:
        return
    read_member(package, read_manifest(package), target)


def _interrupt(signum: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _find_example(folder: Path, http_url: str) -> str | None:
    """A curl line with the package's first golden request; None without a package, or where JSON cannot carry it."""
    from packc.package.golden import load_golden
    from packc.server.requests import golden_requests, write_curl

    try:
        package = find_package(folder)
    except UsageError:
        return None
    request = golden_requests(load_golden(package / "golden"))[0]
    return write_curl(http_url, read_manifest(package).model, request)
