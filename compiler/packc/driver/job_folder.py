"""Where the job bundles of a target lie, and what of them stays until every one brought a result.

job/ is in the target's folder with the manifest of its build; beside a good package it is in `<target>.jobs`. Results
may come in parts, those of one runtime today and of another tomorrow: while bundles are missing, all stay there, with
the results that came so far.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from packc.driver.inputs import BuildInputs
from packc.driver.job_parts import describe_changes
from packc.errors import PackError, UsageError
from packc.jobs.bundle import MODEL_FOLDER, read_result
from packc.jobs.result_files import has_good_result
from packc.package.manifest import Manifest
from packc.package.manifest_file import MANIFEST, read_manifest
from packc.select import Outcome

JOB_FOLDER = "job"
RESULT_FILES = ("result.json", "answers.npz", f"{MODEL_FOLDER}/*.plan")
"""What a run leaves in a bundle; engines among it."""


def beside_package(final: Path) -> Path:
    """The folder for job bundles while a good package is at `final`."""
    return final.with_name(f"{final.name}.jobs")


def find_jobs(final: Path) -> Path:
    """The folder, with manifest and job/, where a build leaves job bundles while `final` is as it is."""
    beside = beside_package(final)
    return beside if (beside / MANIFEST).is_file() else final


def list_bundle_files(built: Manifest) -> dict[str, dict[str, str]]:
    """Candidate -> the files of its bundle as the build made it, path -> sha256; those without a bundle are not there.

    `built` is that build's record.
    """
    bundles: dict[str, dict[str, str]] = {}
    for path, sha256 in built.files.items():
        folder, _, rest = path.partition("/")
        candidate, _, name = rest.partition("/")
        if folder == JOB_FOLDER and name:
            bundles.setdefault(candidate, {})[name] = sha256
    return bundles


def find_bundle(candidate: str, folders: Sequence[Path], is_own: Callable[[Path], bool]) -> Path:
    """The candidate's bundle in the first of the folders where it went well, came back whole, and `is_own`: of this
    build.

    Else in the first where it ran, else in the first one.
    """
    places = [folder / candidate for folder in folders]
    ran = [place for place in places if (place / "result.json").is_file()]
    return next((place for place in ran if has_good_result(place) and is_own(place)), (ran or places)[0])


def keep_results(outcomes: Sequence[Outcome], jobs: Path, built: Manifest, folder: Path) -> None:
    """Copies what the measured bundles in `jobs` brought to those of the build in `folder`, while others are missing.

    Nothing is copied where that is the same folder, or the build's own bundles are gone.
    """
    bundles = list_bundle_files(built)
    measured = {outcome.candidate.id for outcome in outcomes if outcome.measurement} & bundles.keys()
    if measured == bundles.keys() or jobs == folder / JOB_FOLDER:
        return
    for candidate in sorted(measured):
        source, place = jobs / candidate, folder / JOB_FOLDER / candidate
        if not place.is_dir() or _status(source) != "ok":
            continue
        files = [file for file in source.rglob("*") if file.is_file() and "__pycache__" not in file.parts]
        brought = [name for file in files if (name := str(file.relative_to(source))) not in bundles[candidate]]
        for name in sorted(brought, key=lambda name: name == "result.json"):  # last: it speaks of the others
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source / name, place / name)


def set_aside(final: Path, package: Manifest) -> bool:
    """Makes way at `final` for a `package` of job bundles' results; whether those bundles stay beside it.

    They do while it has no figures of some: these can still be run, and imported.
    """
    folder = find_jobs(final)
    try:
        built = read_manifest(folder)
    except UsageError:
        return False
    is_of_them = built.state == "built" and built.jobs_key == package.jobs_key
    if not is_of_them or list_bundle_files(built).keys() <= _list_measured(package):
        return False
    if folder == final:
        shutil.rmtree(beside_package(final), ignore_errors=True)
        final.rename(beside_package(final))
    return True


def refuse_to_lose_results(final: Path, inputs: BuildInputs) -> None:
    """Raises UsageError where bundles that a build would replace ran on a device: nobody can make that again here.

    Those of the build of `inputs` can be imported, others once what changed is as it was. What a run left that says it
    failed is no loss, nor is what the package at `final` already has the figures of.
    """
    folder = find_jobs(final)
    taken = _list_taken(final, folder)
    for bundle in sorted((folder / JOB_FOLDER).glob("*")):
        found = [file for name in RESULT_FILES for file in sorted(bundle.glob(name))]
        if found and bundle.name not in taken and _status(bundle) in ("ok", None):
            here = f"{folder / JOB_FOLDER}: results of a device are here, such as {found[0].relative_to(folder)}"
            if changes := _find_changes(folder, inputs):
                raise UsageError(
                    f"{here}, of another build: {changes} changed since",
                    hint="move the folder away to build new bundles, or undo the change and `pack import` these",
                )
            raise UsageError(here, hint="`pack import` them, or move the folder away first")


def _find_changes(folder: Path, inputs: BuildInputs) -> str:
    """What changed since the bundles in `folder` were built; empty where they are those of the build of `inputs`."""
    try:
        built = read_manifest(folder)
    except UsageError:
        return ""
    return describe_changes(built.job_parts, inputs.job_parts) if built.jobs_key != inputs.jobs_key else ""


def _list_taken(final: Path, folder: Path) -> set[str]:
    """Candidates whose results in `folder`, beside it, went into the package at `final`.

    Of a package with another budget nobody knows that: its bundles may have been made, and run, again since.
    """
    if folder == final:
        return set()
    try:
        package = read_manifest(final)
        return _list_measured(package) if package.build_key == read_manifest(folder).build_key else set()
    except UsageError:
        return set()


def _list_measured(package: Manifest) -> set[str]:
    return {r.id for r in package.candidates if r.measurements and r.measurements.p50_ms is not None}


def _status(bundle: Path) -> str | None:
    """How the bundle's run ended; None where nobody knows."""
    try:
        return read_result(bundle).status
    except PackError:
        return None
