"""`pack report`: what a build found out, again, from its manifest."""

from __future__ import annotations

import errno
from pathlib import Path

import click

from packc.cli.console import LOGGER
from packc.cli.packages import refuse_bundles
from packc.errors import UsageError
from packc.package.manifest_file import MANIFEST, read_manifest
from packc.report.terminal import print_report


@click.command()
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option(
    "--html",
    "page",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write the page to FILE too.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the manifest instead of the table.")
def report(folder: Path, page: Path | None, as_json: bool) -> None:
    """Report on the package in DIR (build/<model>/<target>): candidates, served figures, verdict."""
    refuse_bundles(folder)
    manifest = read_manifest(folder)
    if page is not None:
        from packc.report.html import write_html

        try:
            write_html(manifest, page)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise
            raise UsageError(f"cannot write {page}: {error.strerror}", hint="name another file") from None
        LOGGER.info("wrote %s", page)
    if as_json:
        click.echo((folder / MANIFEST).read_text("utf-8"), nl=False)
    else:
        print_report(manifest)
