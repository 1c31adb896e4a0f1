"""What the command line writes where: data on stdout; logs, warnings and errors on stderr."""

from __future__ import annotations

import json
import logging
import os
import re
import sys
from collections.abc import Mapping, Sequence

import click

LOGGER = logging.getLogger("packc")

_MARKS = re.compile(r"^((?:\S+:\d+:\d+: )?)(error|warning|hint):", re.MULTILINE)
_COLOURS = {"error": "red", "warning": "yellow", "hint": "cyan"}


def use_colour() -> bool:
    """Whether stderr takes colours: a terminal, and NO_COLOR is unset."""
    return sys.stderr.isatty() and not os.environ.get("NO_COLOR")


def print_note(text: str) -> None:
    """Text for people on stderr; its `error:`, `warning:` and `hint:` are coloured on a terminal."""
    if use_colour():
        text = _MARKS.sub(lambda m: m[1] + click.style(f"{m[2]}:", fg=_COLOURS[m[2]], bold=True), text)
    click.echo(text, err=True, color=use_colour())


def print_json(document: Mapping[str, object]) -> None:
    """The one JSON document that a command with --json writes."""
    click.echo(json.dumps(document, indent=2, default=str))


def print_table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Left-aligned columns on stdout, readable without colour."""
    widths = [max(len(row[i]) for row in (headers, *rows)) for i in range(len(headers))]
    for row in (headers, *rows):
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


class _NoteHandler(logging.Handler):
    """Log records as plain short lines on stderr; only warnings and worse say what they are.

    Where a record is of an exception, its traceback follows.
    """

    def emit(self, record: logging.LogRecord) -> None:
        mark = (
            "error: " if record.levelno >= logging.ERROR else "warning: " if record.levelno >= logging.WARNING else ""
        )
        print_note(mark + record.getMessage())
        if record.exc_info:
            print_note(logging.Formatter().formatException(record.exc_info))


def start_logging() -> None:
    """Sends the logs of pack to stderr, from level info; `set_level` changes the level."""
    LOGGER.handlers = [_NoteHandler()]
    LOGGER.propagate = False
    LOGGER.setLevel(logging.INFO)


def set_level(level: int) -> None:
    LOGGER.setLevel(level)


def is_verbose() -> bool:
    return LOGGER.level == logging.DEBUG
