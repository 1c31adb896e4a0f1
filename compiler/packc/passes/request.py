"""What the parent asks of the passes worker, and what comes back, as JSON files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter

from packc.candidate import PassStep
from packc.ingest.source import Geometry
from packc.passes.graph_pass import PassReport

REPORTS_FILE = "reports.json"


@dataclass(frozen=True, slots=True)
class Request:
    """One run of the worker: `steps` over the graph at `model`.

    The graph after the first n steps goes to `out/<n>`, with the reports of those steps, for each n in `keep`.
    """

    model: Path
    steps: tuple[PassStep, ...]
    geometry: Geometry | None
    calibration: Path
    out: Path
    keep: tuple[int, ...]


def write_request(path: Path, request: Request) -> None:
    """Writes `request` as JSON."""
    path.write_bytes(TypeAdapter(Request).dump_json(request))


def read_request(path: Path) -> Request:
    """Reads what `write_request` wrote."""
    return TypeAdapter(Request).validate_json(path.read_bytes())


def write_reports(folder: Path, reports: tuple[PassReport, ...]) -> None:
    """Writes the reports of all steps that led to the graph in `folder`."""
    (folder / REPORTS_FILE).write_bytes(TypeAdapter(tuple[PassReport, ...]).dump_json(reports))


def read_reports(folder: Path) -> tuple[PassReport, ...]:
    """Reads what `write_reports` wrote."""
    return TypeAdapter(tuple[PassReport, ...]).validate_json((folder / REPORTS_FILE).read_bytes())
