"""`pack doctor`: what is installed, what is missing, and the commands that bring it."""

from __future__ import annotations

from dataclasses import asdict

import click

from packc.cli.console import LOGGER, print_json, print_table
from packc.doctor import Health, examine
from packc.errors import MissingError
from packc.runtimes.tensorrt_python import Lookup, is_named


@click.command()
@click.option("--install", type=click.Choice(["server"]), help="Install the Triton server that verifies packages.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.pass_context
def doctor(context: click.Context, install: str | None, as_json: bool) -> None:
    """Say what is installed and what each kind of target still needs.

    Exit code 0 when all is here that a CPU target takes, 5 otherwise.
    """
    if install:
        from packc.server.install import install_server

        LOGGER.info("the Triton server is in %s", install_server().executable)
    health = examine()
    if as_json:
        print_json(_describe(health))
    else:
        _print(health)
    if not health.is_ready:
        context.exit(MissingError.exit_code)


def _print(health: Health) -> None:
    host = health.host
    click.echo(f"pack     {health.pack}")
    click.echo(f"python   {health.python}")
    memory = f", {host.memory_gb:g} GB" if host.memory_gb else ""
    click.echo(f"machine  {host.name}, {host.arch}, {host.units} cores{memory}; {' '.join(host.native)}")
    if gpu := health.gpu:
        figures = f"{gpu.arch} {gpu.compute_capability}, {gpu.units} SMs, {gpu.memory_gb:g} GB; {' '.join(gpu.native)}"
        click.echo(f"gpu      {gpu.name}, {figures}")
        for note in gpu.notes:
            click.echo(f"         {note}")
    if found := health.tensorrt.found:
        click.echo(f"tensorrt {found.version} in {found.python or 'this Python'}")
    elif health.gpu or is_named():
        click.echo(f"tensorrt none: {health.tensorrt.problem}")
    click.echo(f"server   {health.server or health.server_problem or 'none'}\n")
    rows = [(lib.name, lib.version or "-", lib.wanted, f"packc[{lib.extra}]") for lib in health.libraries]
    print_table(("LIBRARY", "INSTALLED", "WANTED", "FROM"), rows)
    for need in health.needs:
        lack = f"{'needs' if need.commands else 'not ready:'} {'; '.join(need.missing)}"
        click.echo(f"\n{need.kind}: {'ready' if need.is_ready else lack}")
        for command in need.commands:
            click.echo(f"  {command}")


def _describe_tensorrt(tensorrt: Lookup) -> dict[str, object]:
    found = tensorrt.found
    version, python = (found.version, found.python) if found else (None, None)
    return {"version": version, "python": str(python) if python else None, "problem": tensorrt.problem or None}


def _describe(health: Health) -> dict[str, object]:
    kinds = {
        need.kind: {"ready": need.is_ready, "missing": need.missing, "commands": need.commands} for need in health.needs
    }
    libraries = [{**asdict(library), "ready": library.is_ready} for library in health.libraries]
    return {
        "schema": 1,
        "ready": health.is_ready,
        "pack": health.pack,
        "python": health.python,
        "host": asdict(health.host),
        "gpu": asdict(health.gpu) if health.gpu else None,
        "tensorrt": _describe_tensorrt(health.tensorrt),
        "server": health.server,
        "server_problem": health.server_problem,
        "libraries": libraries,
        "kinds": kinds,
    }
