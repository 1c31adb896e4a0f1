"""`pack init`: the first spec for a model."""

from __future__ import annotations

import errno
from pathlib import Path

import click
from pydantic import ValidationError

from packc.cli.console import LOGGER
from packc.errors import UsageError
from packc.init_spec import render_spec, suggest_name
from packc.spec.model import ModelSection
from packc.spec.paths import resolve_source
from packc.toml.explain import NAME_RULE


@click.command()
@click.argument("model")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    default=Path("spec.toml"),
    show_default=True,
    help="Where to write.",
)
@click.option("--name", help="Name of the Triton model; from MODEL when it is left out.")
def init(model: str, output: Path, name: str | None) -> None:
    """Write a commented spec for MODEL: a checkpoint folder, a hub id, an .onnx file or "package.module:factory"."""
    from packc.ingest.inspect import inspect_source

    if output.exists():
        raise UsageError(f"{output} exists already", hint="name another file with -o; init never overwrites")
    source = resolve_source(model, Path.cwd())
    name = name or suggest_name(source)
    try:
        section = ModelSection(name=name, source=source)
    except ValidationError:
        raise UsageError(f'"{name}" cannot be the name of a model', hint=NAME_RULE) from None
    info = inspect_source(section)
    text = render_spec(info, name, _relate(source, output), str(output))
    try:
        with output.open("x", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            output.unlink(missing_ok=True)
            raise
        raise UsageError(f"cannot write {output}: {error.strerror}", hint="name another file with -o") from None
    LOGGER.info("wrote %s: %s, target host; `pack build %s` is next", output, info.task, output)


def _relate(source: str, output: Path) -> str:
    """`source` as it shall stand in the spec: relative to the spec's folder when it lies within."""
    folder = output.resolve().parent
    path = Path(source)
    return f"./{path.relative_to(folder)}" if path.is_absolute() and path.is_relative_to(folder) else source
