"""SourceInfo -> exported model, evaluation inputs with the source's answers, calibration inputs; all from the cache.

The heavy work runs in one child process (packc.ingest.worker), and only for what the cache lacks.
"""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import BinaryIO, NoReturn

from packc import __version__
from packc.cache import Cache, cache_key
from packc.candidate import Candidate
from packc.errors import DataError, Diagnostic, MissingError, PackError, SourceError
from packc.ingest.export import OPSET
from packc.ingest.fingerprint import fingerprint_files, hash_file
from packc.ingest.request import (
    ANSWERS_FILE,
    CALIBRATION_FILE,
    FAILURE_FILE,
    INPUTS_FILE,
    Failure,
    Request,
    read_failure,
    read_source,
    write_request,
)
from packc.ingest.source import Origin, SourceInfo, SourceModel
from packc.ingest.torch_module import search_path
from packc.samples import RawSamples

log = logging.getLogger(__name__)

TIME_LIMIT_S = 3600.0
THREADS = 4
"""At most, for the source model: more only spin over single short texts."""

TOOLS = ("torch", "transformers", "tokenizers", "pillow", "onnx", "onnxscript", "onnxruntime")
"""Packages whose versions decide what an export or an answer looks like."""

NEEDED: dict[Origin, tuple[str, ...]] = {
    "huggingface": ("torch", "onnxscript", "onnxruntime"),
    "torch": ("torch", "onnxscript", "onnxruntime"),
    "onnx": ("onnx", "onnxruntime"),
}
LOG_LINES = 5


@dataclass(frozen=True, slots=True)
class Ingested:
    """An exported model and its samples files (packc.samples); sample i of `answers` answers sample i of `inputs`."""

    source: SourceModel
    inputs: Path
    answers: Path
    calibration: Path
    student: SourceModel | None = None
    """A smaller model that was trained to answer as the source does; None where none was asked for."""

    def find_source(self, candidate: Candidate) -> SourceModel:
        """The exported model that `candidate` begins with. Raises PackError when it is not there."""
        if candidate.source == "model":
            return self.source
        if self.student is None:
            raise PackError(f"{candidate.id}: there is no student")
        return self.student


def ingest_model(info: SourceInfo, evaluation: RawSamples, calibration: RawSamples, cache: Cache) -> Ingested:
    """Exports the model that `info` describes and runs it, in its own framework, over the evaluation samples.

    Raises SourceError when it cannot be exported, or when the export differs from it; DataError when samples do not fit
    it; MissingError when a library is missing.
    """
    versions = find_tool_versions(info)
    own = Path(__file__).parent
    code = fingerprint_files(own.glob("*.py"), own)
    export_key = cache_key(info=content_of(info), tools=versions, opset=OPSET, code=code)
    answers_key = cache_key(export=export_key, evaluation=hash_raw(evaluation), calibration=hash_raw(calibration))

    def run(export: Path, answers: Path | None, *, make_export: bool) -> None:
        request = Request(info, export, make_export, answers, evaluation, calibration, tuple(search_path()))
        run_worker(request)

    def make_answers(folder: Path) -> None:
        """Fills both entries in one run when the export is missing too."""
        export = cache.find("export", export_key)
        if export is not None:
            run(export, folder, make_export=False)
            return
        cache.get_or_make("export", export_key, lambda staging: run(staging, folder, make_export=True))
        if not (folder / ANSWERS_FILE).exists():  # another build had made the export meanwhile
            make_answers(folder)

    answers = cache.get_or_make(
        "answers", answers_key, make_answers, reused=f"{info.location}: exported and run before"
    )
    export = cache.find("export", export_key) or cache.get_or_make(
        "export", export_key, lambda staging: run(staging, None, make_export=True)
    )
    source = read_source(export, info)
    return Ingested(source, answers / INPUTS_FILE, answers / ANSWERS_FILE, answers / CALIBRATION_FILE)


def content_of(info: SourceInfo) -> list[object]:
    """What of `info` changes the export: not where its files lie."""
    factory = info.location.rsplit(":", 1)[-1] if info.origin == "torch" else None
    return [info.origin, info.fingerprint, factory, info.task, info.pooling, info.normalize]


def hash_raw(raw: RawSamples) -> list[object]:
    tensors = hash_file(raw.tensors) if raw.tensors else None
    return [raw.is_generated, raw.texts, [hash_file(image) for image in raw.images], tensors]


def find_tool_versions(info: SourceInfo) -> dict[str, str]:
    found = {"packc": __version__}
    for tool in TOOLS:
        try:
            found[tool] = version(tool)
        except PackageNotFoundError:
            continue
    needed = [*NEEDED[info.origin], *(("transformers", "tokenizers", "pillow") if info.preprocessing else ())]
    missing = [tool for tool in needed if tool not in found]
    if missing:
        raise MissingError(f"compiling {info.location} needs {', '.join(missing)}", hint="pip install 'packc[cpu]'")
    return found


def run_worker(request: Request) -> None:
    """Runs the worker on `request`; what it prints is kept for the error. Raises PackError."""
    action = "training a student of" if request.student else "exporting" if request.make_export else "running"
    log.info("%s %s", action, request.info.location)
    with TemporaryDirectory(prefix="pack-ingest-") as folder:
        file, output = Path(folder, "request.json"), Path(folder, "output.txt")
        write_request(file, request)
        with output.open("wb") as stream:
            returncode = _run_child(request, file, stream)
        failure = read_failure(file.with_name(FAILURE_FILE))
        if failure is not None:
            _raise_failure(failure)
        if returncode != 0:
            raise _crash_error(request, returncode, output)


def _run_child(request: Request, file: Path, stream: BinaryIO) -> int:
    environment = {
        **os.environ,
        "HF_HUB_OFFLINE": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "TRANSFORMERS_VERBOSITY": "error",
        "PYTHONWARNINGS": "ignore",
        "OMP_NUM_THREADS": str(min(THREADS, len(os.sched_getaffinity(0)))),
        "OMP_WAIT_POLICY": "PASSIVE",
    }
    command = [sys.executable, "-m", "packc.ingest.worker", str(file)]
    limit_s = TIME_LIMIT_S + (request.student.max_seconds if request.student else 0.0)
    try:
        return subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=stream,
            env=environment,
            timeout=limit_s,
            check=False,
        ).returncode
    except subprocess.TimeoutExpired as error:
        raise SourceError(
            f"exporting {request.info.location} took more than {limit_s / 60:.0f} minutes and was stopped"
        ) from error


def _raise_failure(failure: Failure) -> NoReturn:
    """Raises the error that it is; the log has the worker's traceback, which no exception of this process holds."""
    log.debug("%s", failure.traceback)
    message, hint = failure.mistakes[0]
    if failure.kind == "data":
        raise DataError(*(Diagnostic(message, hint=hint) for message, hint in failure.mistakes))
    if failure.kind == "source":
        raise SourceError(message, hint=hint)
    raise PackError(message, hint=hint)


def _crash_error(request: Request, returncode: int, output: Path) -> SourceError:
    what = f"exporting {request.info.location}"
    if returncode == -signal.SIGKILL:
        return SourceError(
            f"{what} was killed, most likely for want of memory", hint="free memory, or build on a larger machine"
        )
    reason = signal.Signals(-returncode).name if returncode < 0 else f"exit code {returncode}"
    lines = [line.strip() for line in output.read_text(errors="replace").splitlines() if line.strip()]
    said = "".join(f"\n  {line[:200]}" for line in lines[-LOG_LINES:])
    return SourceError(f"{what} crashed ({reason}){':' + said if said else ''}")
