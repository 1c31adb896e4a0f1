"""Writes job bundles and reads what came back; packc.jobs.job draws their layout."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from pydantic import TypeAdapter, ValidationError

from packc.errors import PackError
from packc.jobs import gpu_state, result_files, runner
from packc.jobs.job import Job, JobResult

MODEL_FOLDER = "model"

RUNNER: Mapping[str, Path] = {
    "run.py": Path(runner.__file__),
    "result_files.py": Path(result_files.__file__),
    "gpu_state.py": Path(gpu_state.__file__),
}
"""Of every bundle: file -> what it is a copy of."""

MOST_SHOWN = 60
"""Characters of a value that has no business in a file."""

T = TypeVar("T")


def write_bundle(
    folder: Path,
    job: Job,
    artifact: Iterable[Path],
    samples: Path | None,
    latency: Path | None,
    engine: Mapping[str, Path],
    *,
    linked: bool = True,
) -> None:
    """Fills `folder` (made when missing) with a bundle for `job`.

    `artifact` is the main file, which the job names, and all that it needs: external data below its folder, an engine's
    second file. `engine` are the runtime's `engine_files`. `samples` is needed when the job answers, `latency` when it
    has cases.
    `linked`, for a bundle that does not outlive its run, makes hard links of what it can; external data are always
    copied, as ONNX readers refuse data that have a second link.
    """
    place = _link if linked else _copy
    folder.mkdir(parents=True, exist_ok=True)
    files = list(artifact)
    main = next(file for file in files if file.name == Path(job.model).name)
    for file in files:
        (place if file == main else _copy)(file, folder / MODEL_FOLDER / file.relative_to(main.parent))
    for name, data in (("samples.npz", samples), ("latency.npz", latency)):
        if data is not None:
            place(data, folder / name)
    for name, source in {**engine, **RUNNER}.items():
        shutil.copyfile(source, folder / name)
    (folder / "job.json").write_bytes(TypeAdapter(Job).dump_json(job, indent=1))


def join_copies(bundles: Sequence[Path], wait_s: float) -> None:
    """Has the runners of bundles in one folder wait for each other before they answer or time anything, for
    `wait_s` from now on; then they fail."""
    for bundle in bundles:
        text = json.dumps({"wait_s": wait_s, "names": [other.name for other in bundles]})
        (bundle / runner.COPIES).write_text(text, "utf-8")


def read_job(folder: Path) -> Job:
    """The job of a bundle. Raises PackError when job.json is missing or malformed."""
    return _read(folder / "job.json", TypeAdapter(Job))


def read_result(folder: Path) -> JobResult:
    """What the runner wrote, `answers` made absolute. Raises PackError when result.json is missing or malformed."""
    result = _read(folder / "result.json", TypeAdapter(JobResult))
    return replace(result, answers=None if result.answers is None else folder / "answers.npz")


def model_size_mib(folder: Path) -> float:
    """Size of a bundle's model: all its files."""
    return sum(file.stat().st_size for file in (folder / MODEL_FOLDER).rglob("*") if file.is_file()) / 2**20


def _read(path: Path, adapter: TypeAdapter[T]) -> T:
    try:
        return adapter.validate_json(path.read_bytes())
    except FileNotFoundError:
        raise PackError(
            f"{path.parent}: the bundle has no {path.name}",
            hint="run the bundle first: python3 run.py" if path.name == "result.json" else None,
        ) from None
    except ValidationError as error:
        raise PackError(f"{path} cannot be read: {_explain(error)}") from None


def _explain(error: ValidationError) -> str:
    """The first mistake of a file, in words."""
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"])
    if first["type"] == "json_invalid":
        return "it is cut short, or no JSON"
    if not place:
        return "it has no fields"
    if first["type"] == "missing":
        return f"it has no {place}"
    return f"its {place} is {json.dumps(first['input'], default=str)[:MOST_SHOWN]}"


def _copy(source: Path, destination: Path) -> None:
    destination.parent.mkdir(parents=True, exist_ok=True)
    destination.unlink(missing_ok=True)
    shutil.copyfile(source, destination)


def _link(source: Path, destination: Path) -> None:
    destination.parent.mkdir(parents=True, exist_ok=True)
    destination.unlink(missing_ok=True)
    try:
        os.link(source.resolve(), destination)
    except OSError:
        shutil.copyfile(source, destination)
