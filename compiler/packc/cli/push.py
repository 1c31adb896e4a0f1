"""`pack push`: makes a package what a repository folder or a running server serves."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from packc.cli.console import print_json
from packc.cli.packages import find_servable


@click.command()
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.argument("destination", metavar="DEST")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def push(folder: Path, destination: str, as_json: bool) -> None:
    """Push the package in DIR to DEST.

    DEST is the folder of a model repository, or a running server with explicit model control: http://HOST:8000 or
    grpc://HOST:8001. What DEST serves is replaced only after the package was checked, sent and, on a server, has
    answered its golden requests; on any failure it serves what it did, and the exit code is 6. Where it serves this
    very package already, nothing is sent, and the exit code is 0.

    One limit: a package of a single graph (pipeline none) on a running server is rehearsed under another name first,
    but should it answer wrongly only once it serves, the old files are not known: push the old package again.
    """
    from packc.push.push import push_package

    result = push_package(find_servable(folder), destination)
    if as_json:
        print_json({"schema": 1, **asdict(result)})
        return
    already = "" if result.models else ", as it was before"
    click.echo(f"{result.model} is version {result.version} at {result.destination}{already} ({result.seconds:.1f} s)")
    click.echo(f"  sent      {', '.join(result.models) or 'nothing: these very files are there'}")
    if result.golden_requests:
        click.echo(f"  golden    {result.golden_requests} requests answered as they should be")
    else:
        click.echo("  golden    not replayed: a folder answers nothing; `pack verify DIR --url` asks a server")
