"""`pack import`: takes back what job bundles measured on a device elsewhere, and packages the best candidate."""

from __future__ import annotations

from pathlib import Path

import click

from packc.cache import Cache
from packc.cli.build import OUT, print_results
from packc.driver.endings import BuildOptions
from packc.driver.job_folder import JOB_FOLDER, find_jobs
from packc.driver.profiles import read_checked_spec
from packc.driver.spec import build_spec
from packc.errors import UsageError
from packc.target_profiles import find_target


@click.command("import")
@click.argument("spec", type=click.Path(path_type=Path))
@click.option("--target", "-t", help="The target whose bundles ran; may be left out where the spec has one target.")
@click.option(
    "--from",
    "folder",
    type=click.Path(path_type=Path),
    help="Folder of the bundles, or of job/  [default: where `pack build` left them]",
)
@click.option("--out", "-o", type=click.Path(path_type=Path), default=OUT, show_default=True, help="As `pack build`'s.")
@click.option("--allow-miss", is_flag=True, help="Publish the nearest candidate when a promise is missed.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document instead of the report.")
def import_jobs(spec: Path, target: str | None, folder: Path | None, out: Path, allow_miss: bool, as_json: bool) -> int:
    """Choose among the candidates of SPEC by what their job bundles measured on the device.

    The build that made the bundles must be this one still, but for [budget], [serve] and the goal, which are those of
    SPEC as it is now. Answers are judged as the device gave them; the budget is judged without a server. Ends with 3
    when no candidate keeps the budget, 4 for the quality bound.
    """
    model = read_checked_spec(spec)
    name = _choose_target(tuple(model.targets), target)
    device = find_target(model.targets[name].profile, spec.resolve().parent)
    if device.is_here:
        raise UsageError(
            f"{name}: {device.name} is this machine, so nothing is to be imported", hint="`pack build` measures it"
        )
    jobs = _find_bundles((folder or find_jobs(out / model.model.name / name)).resolve())
    options = BuildOptions(allow_miss, verify=False, jobs=jobs)
    return print_results(build_spec(model, spec.resolve(), out.resolve(), options, Cache(), (name,)), model, as_json)


def _find_bundles(folder: Path) -> Path:
    """The folder of bundles that `folder` is or holds."""
    jobs = folder / JOB_FOLDER if (folder / JOB_FOLDER).is_dir() else folder
    if not any(jobs.glob("*/job.json")):
        raise UsageError(
            f"there are no job bundles in {jobs}", hint="`pack build` makes them; README.md beside job/ has the way"
        )
    return jobs


def _choose_target(names: tuple[str, ...], wanted: str | None) -> str:
    if wanted is None and len(names) > 1:
        raise UsageError("the spec has several targets", hint=f"name one with --target: {', '.join(names)}")
    if wanted is not None and wanted not in names:
        raise UsageError(f"the spec has no target {wanted!r}", hint=f"it has {', '.join(names)}")
    return wanted or names[0]
