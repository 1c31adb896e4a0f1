"""`pack serve`: a package in a real server, until Ctrl-C."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path
from types import FrameType

import click

from packc.cli.console import LOGGER
from packc.cli.packages import find_package, find_repository
from packc.errors import PackError, UsageError
from packc.package.manifest_file import read_manifest
from packc.samples import Array, Sample


@click.command()
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--http-port", type=click.IntRange(0, 65535), default=8000, show_default=True, help="0: any free one.")
@click.option("--grpc-port", type=click.IntRange(0, 65535), default=8001, show_default=True, help="0: any free one.")
@click.option("--metrics-port", type=click.IntRange(0, 65535), default=8002, show_default=True, help="0: any free one.")
@click.option(
    "--explicit", is_flag=True, help="Load nothing at the start, and take `pack push` (explicit model control)."
)
def serve(folder: Path, http_port: int, grpc_port: int, metrics_port: int, explicit: bool) -> None:
    """Serve the package or model repository in DIR on this machine until Ctrl-C.

    Only this machine can reach it; to serve others, use the package's Dockerfile.
    """
    from packc.server.environment import require_server
    from packc.server.process import Ports, start_server

    repository = folder if explicit and folder.is_dir() else find_repository(folder)
    signal.signal(signal.SIGTERM, _interrupt)
    with start_server(
        require_server(),
        repository,
        ports=Ports(http_port, grpc_port, metrics_port),
        control="explicit" if explicit else "none",
        response_cache=True,
        graceful=True,
    ) as running:
        click.echo(f"HTTP     {running.http_url}")
        click.echo(f"gRPC     {running.grpc_url}")
        click.echo(f"metrics  {running.metrics_url}")
        if example := _write_example(folder, running.http_url):
            click.echo(f"\n{example}\n")
        LOGGER.info("Ctrl-C stops it")
        while running.is_alive():
            time.sleep(0.5)
        raise PackError(f"Triton ended by itself; its log ends:\n{running.read_log_end()}")


def _interrupt(signum: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _write_example(folder: Path, http_url: str) -> str | None:
    """A curl line with the package's first golden request; None without a package, or where JSON cannot carry it."""
    from packc.package.golden import load_golden
    from packc.server.requests import golden_requests

    try:
        package = find_package(folder)
        model = read_manifest(package).model
        request = golden_requests(load_golden(package / "golden"))[0]
    except UsageError:
        return None
    body = json_request(request)
    return f"curl -s {http_url}/v2/models/{model}/infer -d {_quote(body)}" if body else None


def json_request(request: Sample) -> str | None:
    """`request` as the JSON that an HTTP client may post; None when it is too long for a line, or is no text."""
    inputs = []
    for name, array in request.items():
        if (data := _json_values(array)) is None:
            return None
        datatype = "BYTES" if array.dtype.kind == "O" else _JSON_TYPES[array.dtype.name]
        inputs.append({"name": name, "shape": list(array.shape), "datatype": datatype, "data": data})
    text = json.dumps({"inputs": inputs}, ensure_ascii=False)
    return text if len(text) < 2000 else None


_JSON_TYPES = {
    **{f"{sign}int{bits}": f"{sign.upper()}INT{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)},
    "float32": "FP32",
    "float64": "FP64",
    "bool": "BOOL",
}


def _json_values(array: Array) -> list[object] | None:
    if array.dtype.kind != "O":
        return array.ravel().tolist() if array.dtype.name in _JSON_TYPES else None
    try:
        return [item.decode() for item in array.ravel().tolist()]
    except UnicodeDecodeError:
        return None


def _quote(text: str) -> str:
    import shlex

    return shlex.quote(text)
