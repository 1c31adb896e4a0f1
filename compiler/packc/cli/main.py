"""The `pack` command: a literal table of commands that are imported only when they run, and the exit codes."""

from __future__ import annotations

import errno
import importlib
import logging
import os
import sys
import traceback
from collections.abc import Sequence
from typing import Any, NamedTuple

import click

from packc import __version__
from packc.cli.console import is_verbose, print_note, set_level, start_logging
from packc.errors import MissingError, PackError


class Entry(NamedTuple):
    """One command: its name, where its click command is ("module:attribute"), its line in `pack --help`."""

    name: str
    target: str
    help: str


COMMANDS = (
    Entry("init", "packc.cli.init:init", "Write a commented spec for a model."),
    Entry("verify", "packc.cli.verify:verify", "Send a package through a real server again."),
    Entry("serve", "packc.cli.serve:serve", "Serve a package on this machine until Ctrl-C."),
    Entry("bench", "packc.cli.bench:bench", "Measure a package, or a model on a running server, under load."),
    Entry("push", "packc.cli.push:push", "Put a package on a running server or into a repository folder."),
    Entry("lint", "packc.cli.lint:lint", "Check any Triton repository against the server's rules."),
    Entry("inspect", "packc.cli.inspect:inspect", "Show what a package, a spec's model or a model is."),
    Entry("report", "packc.cli.report:report", "Show what a build found out, as a table or a page."),
    Entry("plan", "packc.cli.plan:plan", "Show what a build would try, without building."),
    Entry("build", "packc.cli.build:build", "Build, measure, package and verify every target of a spec."),
    Entry("import", "packc.cli.import_jobs:import_jobs", "Take back what job bundles measured on a device elsewhere."),
    Entry("targets", "packc.cli.targets:targets", "List the devices that pack knows, or show one."),
    Entry("doctor", "packc.cli.doctor:doctor", "Say what is installed and what is missing."),
    Entry("schema", "packc.cli.schema:schema", "Print the JSON Schema of a spec."),
    Entry("cache", "packc.cli.cache:cache", "List or shrink the cache of finished work."),
)
"""In the order of `pack --help`."""


def _set_level(level: int) -> Any:
    def callback(context: click.Context, parameter: click.Parameter, value: bool) -> None:
        if value:
            set_level(level)

    return callback


def _make_shared_options() -> list[click.Parameter]:
    options = (
        ("--verbose", "-v", logging.DEBUG, "Say more, and show tracebacks."),
        ("--quiet", "-q", logging.WARNING, "Say only warnings and errors."),
    )
    return [
        click.Option([long, short], is_flag=True, expose_value=False, callback=_set_level(level), help=text)
        for long, short, level, text in options
    ]


class LazyGroup(click.Group):
    """A group of stubs with a name and a help line; the one that runs is replaced by the real command."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name, stub, rest = super().resolve_command(ctx, args)
        return name, load_command(name) if stub and name else None, rest

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)


def load_command(name: str) -> click.Command:
    """Imports the command `name` of the table and gives it the options that every command has."""
    target = next(entry.target for entry in COMMANDS if entry.name == name)
    module, attribute = target.split(":")
    command: click.Command = getattr(importlib.import_module(module), attribute)
    _share_options(command)
    return command


def _share_options(command: click.Command) -> None:
    if not any(option.name == "verbose" for option in command.params):
        command.params += _make_shared_options()
    if isinstance(command, click.Group):
        for below in command.commands.values():
            _share_options(below)


@click.group(
    cls=LazyGroup,
    commands={entry.name: click.Command(entry.name, short_help=entry.help) for entry in COMMANDS},
    params=_make_shared_options(),
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(__version__, message="pack %(version)s")
def cli() -> None:
    """Compile a model for the targets of a spec: the best artifact that keeps your latency budget and quality bound,
    in a Triton repository that a real server has answered through."""


def main() -> None:
    """Entry point of the `pack` program."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Runs one command line and returns its exit code (errors.py lists them); nothing is raised."""
    start_logging()
    try:
        result = cli.main(list(arguments), prog_name="pack", standalone_mode=False)
        sys.stdout.flush()
    except SystemExit as exit_:
        return exit_.code if isinstance(exit_.code, int) else 1
    except BaseException as error:
        return _report(error)
    return result if isinstance(result, int) else 0


def _report(error: BaseException) -> int:
    """Says on stderr what went wrong and returns the exit code for it."""
    if isinstance(error, PackError):
        print_note(error.render())
        if is_verbose():
            traceback.print_exception(error)
        return error.exit_code
    if isinstance(error, click.Abort | KeyboardInterrupt):
        print_note("interrupted")
        return 130
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        click.echo(error.format_message(), err=True)
        return error.exit_code
    if isinstance(error, click.ClickException):
        path = error.ctx.command_path if isinstance(error, click.UsageError) and error.ctx else "pack"
        print_note(f"error: {error.format_message()}\n\nhint: `{path} --help` lists what it takes")
        return error.exit_code
    if isinstance(error, BrokenPipeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        where = f" while writing {error.filename}" if error.filename else ""
        print_note(
            f"error: the disk is full{where}\n\nhint: free some space, for example with `pack cache gc --cap-gib 5`"
        )
        return 1
    if isinstance(error, ModuleNotFoundError) and (missing := _explain_missing(error)):
        return _report(missing)
    print_note(f"error: this is a bug in pack: {type(error).__name__}: {error}")
    if is_verbose():
        traceback.print_exception(error)
    else:
        print_note("\nhint: `--verbose` shows where it happened")
    return 1


def _explain_missing(error: ModuleNotFoundError) -> MissingError | None:
    """The error of a library that an extra of pack brings; None for any other module."""
    from packc.extras import find_extra

    extra = find_extra(error.name)
    return MissingError(f"{error.name} is not installed", hint=f"pip install 'packc[{extra}]'") if extra else None
