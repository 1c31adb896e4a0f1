"""`pack targets`: the devices that pack knows."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from packc.cli.console import print_json, print_table
from packc.errors import UsageError
from packc.gpu import HOST_GPU
from packc.host import probe_host
from packc.target import Target
from packc.target_profiles import NO_GPU, find_host_gpu, find_target, shipped_profiles
from packc.tensors import PRECISIONS

_UNITS = {"cpu": "cores", "cuda": "SMs", "jetson": "SMs", "neuron": "NeuronCores"}


class _TargetsGroup(click.Group):
    """Names of targets are no commands; who gives one is told which command takes it."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0] not in self.commands:
            raise UsageError(
                f'`pack targets` has no command "{args[0]}"', hint=f"`pack targets show {args[0]}` shows one target"
            )
        return super().resolve_command(ctx, args)


@click.group(cls=_TargetsGroup, invoke_without_command=True)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.pass_context
def targets(context: click.Context, as_json: bool) -> None:
    """List the devices that pack knows, this machine first."""
    if context.invoked_subcommand:
        return
    known = shipped_profiles()
    gpu, shipped = find_host_gpu(), {target.id for target in known}
    found = (probe_host(), *([gpu] if gpu else []), *known)
    if as_json:
        print_json({"schema": 1, "targets": [_describe(target) for target in found]})
        return
    rows = [
        (
            t.id,
            t.kind,
            f"{t.units} {_UNITS[t.kind]}",
            _say_gb(t),
            " ".join(t.native),
            t.name + " (unsupported)" * bool(t.unsupported) + " (this machine's)" * (t.is_here and t.id in shipped),
        )
        for t in found
    ]
    if gpu is None:
        rows.insert(1, (HOST_GPU, "cuda", "", "", "", f"this machine's: {NO_GPU}"))
    print_table(("TARGET", "KIND", "UNITS", "MEMORY", "PRECISIONS", "NAME"), rows)


@targets.command()
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def show(name: str, as_json: bool) -> None:
    """Show the target NAME: "host", "host-gpu", a shipped profile, or the path of a profile of yours."""
    target = find_target(name, Path.cwd())
    if as_json:
        print_json({"schema": 1, **_describe(target)})
        return
    click.echo(f"{target.id}: {target.name}\n")
    facts = [
        ("kind", f"{target.kind}, {target.arch}"),
        ("units", f"{target.units} {_UNITS[target.kind]}"),
        ("memory", _say_gb(target)),
        ("bandwidth", f"{target.bandwidth_gb_s:g} GB/s" if target.bandwidth_gb_s else ""),
        ("compute capability", target.compute_capability or ""),
        ("instruction sets", " ".join(target.isa)),
        ("precisions", " ".join(target.native)),
        ("dense peak", _say_peaks(target)),
        ("instances", " ".join(target.instances)),
        ("unsupported", target.unsupported or ""),
    ]
    for label, value in facts:
        if value:
            click.echo(f"  {label:<19} {value}")
    for title, lines in (("notes", target.notes), ("sources", [f"{k}: {v}" for k, v in target.sources.items()])):
        if lines:
            click.echo(f"\n{title}:")
            for line in lines:
                click.echo(f"  {line}")


def _describe(target: Target) -> dict[str, object]:
    return asdict(target)


def _say_gb(target: Target) -> str:
    return f"{target.memory_gb:g} GB" if target.memory_gb else ""


def _say_peaks(target: Target) -> str:
    peaks = target.dense_peak_tflops
    said = [f"{p} {peaks[p]:g} {'TOP/s' if p.startswith('int') else 'TFLOP/s'}" for p in PRECISIONS if p in peaks]
    return ", ".join(said)
