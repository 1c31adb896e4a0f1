"""Reads what a bundle brought back from its device, and refuses what is of another build or cannot be believed.

The files went to another machine and came back by hand: any of them may be missing, old, edited or cut short. Whatever
is wrong is one candidate's failure, a PackError that names the file.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

from packc.errors import PackError
from packc.ingest.fingerprint import fingerprint_files, hash_file
from packc.jobs.bundle import read_job, read_result
from packc.jobs.job import Job, JobResult
from packc.package.artifact import artifact_files
from packc.samples import DAMAGE, iter_samples

LEAST_CALL_MS = 1e-4
"""Reading Python's clock twice alone takes some 100 ns: no call of a model is shorter."""

OTHER_BUILD = "this bundle is of another build: of another target or model, or the spec, its data or a version changed"


def identify_graph(model: Path) -> str:
    """sha256 over the artifact whose main file is `model`, as a bundle's job says which graph it is about."""
    return fingerprint_files(artifact_files(model).values(), model.parent)


def read_unchanged_job(bundle: Path, files: Mapping[str, str], jobs_key: str) -> Job:
    """The job of a bundle whose every file is the one that the build wrote; `files` is path -> sha256 of them all.

    That is held against the build's own record, so that whether the same graph can be made again does not matter.
    Raises PackError.
    """
    job = read_job(bundle)
    if job.build != jobs_key:
        raise PackError(OTHER_BUILD)
    for name, sha256 in files.items():
        if not (bundle / name).is_file():
            raise PackError(f"{bundle / name} did not come back")
        if hash_file(bundle / name) != sha256:
            raise PackError(f"{bundle / name} is not the file that this build made")
    return job


def read_returned(bundle: Path, job: Job) -> JobResult:
    """The result of a bundle, whose job was found unchanged.

    What a run that failed left is not looked into: its status says so. Of others, all times that the job asks for are
    there, and so are the answers. Raises PackError.
    """
    result = read_result(bundle)
    if result.status != "ok":
        return result
    path = bundle / "result.json"
    if result.job_sha256 != hash_file(bundle / "job.json"):
        raise PackError(f"{path} is not of the job.json beside it: run the bundle again")
    _check_figures(path, result)
    _check_times(path, job, result)
    _check_answers(path, job, result)
    return result


def _check_figures(path: Path, result: JobResult) -> None:
    for name in ("load_s", "peak_rss_mib", "device_memory_mib"):
        figure = getattr(result, name)
        if figure is not None and not (math.isfinite(figure) and figure >= 0):
            raise PackError(f"{path}: {name} is {figure:g}")
    for state in result.gpu_states:
        if state.power_w is not None and not math.isfinite(state.power_w):
            raise PackError(f"{path}: power_w is {state.power_w:g}")


def _check_times(path: Path, job: Job, result: JobResult) -> None:
    """Every round times every case of the job, in times that a call can take."""
    names = [case.name for case in job.cases]
    timed = [times.case for times in result.times]
    rounds, rest = divmod(len(timed), len(names))
    if not rounds or rest or timed != names * rounds:
        raise PackError(f"{path}: it has times of {', '.join(timed) or 'no case'}, the job asks for {', '.join(names)}")
    for times in result.times:
        if not times.times_ms:
            raise PackError(f"{path}: it has no times of the case {times.case}")
        if wrong := [
            time_ms for time_ms in times.times_ms if not (math.isfinite(time_ms) and time_ms >= LEAST_CALL_MS)
        ]:
            raise PackError(f"{path}: a call of the case {times.case} took {wrong[0]:g} ms")


def _check_answers(path: Path, job: Job, result: JobResult) -> None:
    """All outputs that the job asks for can be read: packages hold them all, not only the one that is judged."""
    if result.answers is None or not result.answers.is_file():
        raise PackError(f"its answers did not come back: {path.with_name('answers.npz')} is missing")
    if result.answers_sha256 != hash_file(result.answers):
        raise PackError(f"{result.answers} is not what the run wrote, by its sha256 in {path.name}")
    try:
        for index, answer in enumerate(iter_samples(result.answers)):
            if missing := [name for name in job.outputs if name not in answer]:
                raise PackError(f"{result.answers}: sample {index} has no output {', '.join(missing)}")
    except DAMAGE as error:
        raise PackError(f"{result.answers} is damaged: {error}") from error
