"""What the parent asks of the ingest worker, and the records that pass between them, as JSON files."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, TypeVar

from pydantic import TypeAdapter

from packc.ingest.source import SourceInfo, SourceModel
from packc.ingest.student import StudentPlan, Training
from packc.samples import RawSamples

Record = TypeVar("Record")

SOURCE_FILE = "source.json"
GRAPH_FILE = "model.onnx"
FAILURE_FILE = "failure.json"
INPUTS_FILE = "inputs.npz"
ANSWERS_FILE = "answers.npz"
CALIBRATION_FILE = "calibration.npz"
TRAINING_FILE = "training.json"


@dataclass(frozen=True, slots=True)
class Request:
    """One run of the worker.

    `export` is the folder that gets the graph and source.json, or already has them when `make_export` is false.
    `answers` is the folder that gets inputs, answers and calibration inputs; None when they are not wanted.
    """

    info: SourceInfo
    export: Path
    make_export: bool
    answers: Path | None
    evaluation: RawSamples
    calibration: RawSamples
    search_path: tuple[str, ...]
    """Where the modules of factories are looked for."""
    student: StudentPlan | None = None
    """When given, what is exported is no model of the source's but a student of it, trained on `calibration`."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a run of the worker came to nothing: the fault of the model, of the samples, or of neither."""

    kind: Literal["source", "data", "system"]
    mistakes: tuple[tuple[str, str | None], ...]
    """(message, hint) each."""
    traceback: str = ""
    """Where in the worker it happened."""


def write_request(path: Path, request: Request) -> None:
    """Writes `request` as JSON."""
    _write(path, Request, request)


def read_request(path: Path) -> Request:
    """Reads what `write_request` wrote."""
    return _read(path, Request)


def write_failure(path: Path, failure: Failure) -> None:
    """Writes `failure` as JSON."""
    _write(path, Failure, failure)


def read_failure(path: Path) -> Failure | None:
    """Reads what `write_failure` wrote; None when there is no such file."""
    return _read(path, Failure) if path.is_file() else None


def write_source(source: SourceModel) -> None:
    """Writes `source` as source.json beside its graph."""
    _write(source.graph.with_name(SOURCE_FILE), SourceModel, source)


def read_source(folder: Path, info: SourceInfo) -> SourceModel:
    """Reads what `write_source` wrote into `folder`, wherever that folder and the source `info` lie now."""

    source = _read(folder / SOURCE_FILE, SourceModel)
    return replace(source, info=info, graph=folder / source.graph.name)


def write_training(folder: Path, training: Training) -> None:
    """Writes what is known of a student's training beside its graph."""
    _write(folder / TRAINING_FILE, Training, training)


def read_training(folder: Path) -> Training:
    """Reads what `write_training` wrote."""
    return _read(folder / TRAINING_FILE, Training)


def _write(path: Path, kind: type[Record], value: Record) -> None:
    path.write_bytes(TypeAdapter(kind).dump_json(value, indent=2))


def _read(path: Path, kind: type[Record]) -> Record:
    return TypeAdapter(kind).validate_json(path.read_bytes())
