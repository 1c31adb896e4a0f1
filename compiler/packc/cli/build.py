"""`pack build`: from a spec to a verified Triton repository for each of its targets."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from packc.cache import Cache
from packc.cli.console import print_json, print_note
from packc.driver.endings import BuildOptions, End, TargetResult
from packc.driver.job_folder import JOB_FOLDER, find_jobs
from packc.driver.profiles import read_checked_spec
from packc.driver.spec import Ending, TargetFailure, TargetWaiting, build_spec
from packc.errors import BudgetMissed, MissingError, PackError, QualityMissed, UsageError
from packc.package.manifest import Manifest
from packc.package.manifest_file import MANIFEST
from packc.report.combined import list_combined
from packc.report.terminal import print_report
from packc.report.view import is_timing_noisy
from packc.spec.model import Spec

OUT = Path("build")
"""Folder for packages where none is named."""

_EXIT_CODES: dict[End, int] = {
    "published": 0,
    "unchanged": 0,
    "budget_missed": BudgetMissed.exit_code,
    "quality_missed": QualityMissed.exit_code,
    "failed": PackError.exit_code,
    "built": MissingError.exit_code,
    "planned": MissingError.exit_code,
}
"""Of a target; what failed or waits has that of its error."""

_CONTENTS: dict[End, str] = {
    "published": "package",
    "unchanged": "package (nothing changed)",
    "budget_missed": "nothing was published; report",
    "quality_missed": "nothing was published; report",
    "failed": "nothing was published; report",
    "built": "job bundles",
    "planned": "plan",
}
"""What the folder of a target holds."""

_SEVERITY = (0, MissingError.exit_code, BudgetMissed.exit_code, QualityMissed.exit_code, UsageError.exit_code, 1)
"""Exit codes, the gravest last: with several targets the command ends with the gravest of theirs."""


@click.command()
@click.argument("spec", type=click.Path(path_type=Path))
@click.option(
    "--out",
    "-o",
    type=click.Path(path_type=Path),
    default=OUT,
    show_default=True,
    help="Folder for packages.",
)
@click.option("--target", "-t", "targets", multiple=True, help="Build only this target of the spec (repeatable).")
@click.option("--allow-miss", is_flag=True, help="Publish the nearest candidate when a promise is missed.")
@click.option("--no-verify", is_flag=True, help="Do not start a server; the budget is judged without one.")
@click.option(
    "--url", "urls", multiple=True, help="Verify with this running server: http://HOST:PORT, grpc://HOST:PORT."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document instead of the report.")
def build(
    spec: Path,
    out: Path,
    targets: tuple[str, ...],
    allow_miss: bool,
    no_verify: bool,
    urls: tuple[str, ...],
    as_json: bool,
) -> int:
    """Build every target of SPEC: search, measure, package, verify.

    Ends with 3 when no candidate keeps the budget, 4 for the quality bound, 5 when the device is elsewhere.
    """
    arguments = (str(spec),) if out == OUT else (str(spec), "--out", str(out))
    options = BuildOptions(allow_miss, verify=not no_verify, urls=urls, import_arguments=arguments)
    model = read_checked_spec(spec)
    if unknown := [name for name in targets if name not in model.targets]:
        raise UsageError(f"the spec has no target {unknown[0]!r}", hint=f"it has {', '.join(model.targets)}")
    return print_results(build_spec(model, spec.resolve(), out.resolve(), options, Cache(), targets), model, as_json)


def print_results(results: Sequence[Ending], model: Spec, as_json: bool) -> int:
    """Says how each target ended, and returns the gravest exit code."""
    if as_json:
        print_json({"schema": 1, "model": model.model.name, "targets": [_describe(result) for result in results]})
    for result in results:
        if isinstance(result, TargetFailure):
            print_note(f"target {result.target} could not be built:")
            print_note(result.error.render())
        elif isinstance(result, TargetWaiting):
            print_note(f"{result.target} waits: {result.error}\n\nhint: {result.error.hint}")
        elif not as_json:
            _print(result.manifest)
            click.echo(f"\n{_CONTENTS[result.end]}: {_shorten(result.folder)}")
            _explain_rest(result)
    return max((_find_exit_code(result) for result in results), key=_SEVERITY.index)


def _print(manifest: Manifest) -> None:
    """The report; of a combined package, what it adds to those of its targets."""
    if not manifest.combined:
        print_report(manifest)
        return
    click.echo(f"\n{manifest.model} for several GPUs, {manifest.target}: {manifest.state}")
    for target, text in list_combined(manifest):
        click.echo(f"  {target}: {text}")


def _explain_rest(result: TargetResult) -> None:
    """What else lies there, and after a missed promise what a user can do."""
    place = result.folder.with_name(result.target)
    jobs = find_jobs(place)
    has_jobs = jobs != result.folder and (jobs / JOB_FOLDER).is_dir()
    if place != result.folder and place != jobs and place.is_dir():
        click.echo(f"the package of an earlier build stays: {_shorten(place)}")
    if has_jobs:
        click.echo(f"the job bundles stay: {_shorten(jobs)}")
    if result.end not in ("budget_missed", "quality_missed"):
        return
    hint = "change the bound or the workload in the spec, or publish the nearest with --allow-miss"
    if has_jobs and result.end == "budget_missed":
        hint = "change [budget] in the spec and import again, or publish the nearest with --allow-miss"
    elif has_jobs:
        hint = "publish the nearest with --allow-miss; for another bound or workload, build new bundles and run those"
    elif result.end == "budget_missed" and is_timing_noisy(result.manifest):
        hint = f"timing was noisy, so build again on a quiet machine first; if the budget is missed there too, {hint}"
    print_note(f"\nhint: {hint}")


def _find_exit_code(result: Ending) -> int:
    return _EXIT_CODES[result.end] if isinstance(result, TargetResult) else result.error.exit_code


def _describe(result: Ending) -> dict[str, object]:
    """One target of the JSON document; paths are absolute, null where there is no such file.

    "reason" says why there is no package; null where there is one.
    """
    if not isinstance(result, TargetResult):
        nothing = dict.fromkeys(("met", "repository", "manifest", "report"))
        state = "waiting" if isinstance(result, TargetWaiting) else "failed"
        return {"name": result.target, "state": state, "reason": str(result.error), **nothing}
    repository = result.folder / "model_repository"
    return {
        "name": result.target,
        "state": result.manifest.state,
        "reason": None if repository.is_dir() else "; ".join(result.manifest.verdict.reasons),
        "met": result.manifest.verdict.met,
        "repository": str(repository) if repository.is_dir() else None,
        "manifest": str(result.folder / MANIFEST),
        "report": str(result.folder / "report.html"),
    }


def _shorten(folder: Path) -> str:
    """The path relative to the working folder where it is below it."""
    return str(folder.relative_to(Path.cwd())) if folder.is_relative_to(Path.cwd()) else str(folder)
