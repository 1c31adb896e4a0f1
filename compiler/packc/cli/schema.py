"""`pack schema`: the JSON Schema of a spec."""

from __future__ import annotations

from pathlib import Path

import click

from packc.errors import PackError
from packc.spec.schema import render_schema


@click.command()
@click.option(
    "--check", type=click.Path(dir_okay=False, path_type=Path), help="Fail if FILE is not this schema.", metavar="FILE"
)
def schema(check: Path | None) -> None:
    """Print the JSON Schema (draft 2020-12) of a spec file."""
    text = render_schema()
    if check is None:
        click.echo(text, nl=False)
    elif not check.is_file() or check.read_text("utf-8") != text:
        raise PackError(f"{check} is not the schema of this version", hint=f"pack schema > {check}")
