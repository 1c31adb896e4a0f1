"""`pack lint`: Triton's rules, held against any model repository."""

from __future__ import annotations

from pathlib import Path

import click

from packc.cli.console import print_json, print_note
from packc.cli.packages import find_repository, refuse_bundles
from packc.errors import Diagnostic
from packc.package.lint import lint_repository
from packc.package.manifest_file import MANIFEST


@click.command()
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.pass_context
def lint(context: click.Context, folder: Path, as_json: bool) -> None:
    """Check every model in DIR, a package or any Triton repository, and its ONNX files.

    Exit code 0 without errors (warnings alone are fine), 1 with any.
    """
    refuse_bundles(folder)
    repository = find_repository(folder) if _is_built(folder) else folder
    found = lint_repository(repository)
    errors = sum(diagnostic.severity == "error" for diagnostic in found)
    if as_json:
        print_json(_describe(repository, found))
    else:
        for diagnostic in found:
            print_note(diagnostic.render() + "\n")
        click.echo(f"{repository}: {_count(errors, 'error')}, {_count(len(found) - errors, 'warning')}")
    if errors:
        context.exit(1)


def _is_built(folder: Path) -> bool:
    return (folder / MANIFEST).is_file() or any(folder.glob(f"*/{MANIFEST}"))


def _count(number: int, what: str) -> str:
    return f"{number or 'no'} {what}{'' if number == 1 else 's'}"


def _describe(repository: Path, found: list[Diagnostic]) -> dict[str, object]:
    return {
        "schema": 1,
        "repository": str(repository),
        "diagnostics": [
            {
                "severity": diagnostic.severity,
                "message": diagnostic.message,
                "file": str(diagnostic.span.path) if diagnostic.span else None,
                "line": diagnostic.span.line if diagnostic.span else None,
                "column": diagnostic.span.column if diagnostic.span else None,
                "hint": diagnostic.hint,
            }
            for diagnostic in found
        ],
    }
