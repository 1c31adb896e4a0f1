"""Runs the graph passes of a candidate in a child process, and keeps what they make in the cache."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from itertools import takewhile
from pathlib import Path
from tempfile import TemporaryDirectory

from packc import __version__
from packc.cache import Cache, cache_key
from packc.candidate import PassStep
from packc.child import run_child
from packc.errors import PackError
from packc.ingest.fingerprint import fingerprint_files
from packc.ingest.source import SourceModel
from packc.passes import find_pass
from packc.passes.graph_pass import PassReport
from packc.passes.model_file import MODEL_FILE
from packc.passes.request import Request, read_reports, write_reports, write_request

TIME_LIMIT_S = 1800.0
CACHE_KIND = "graph"

TOOLS = ("onnx", "onnx-ir", "onnxscript", "onnxruntime", "numpy")
"""Packages whose versions decide what a pass makes."""


class LoweringError(PackError):
    """The passes of a candidate failed; the message is one line."""


@dataclass(frozen=True, slots=True)
class Lowered:
    """A graph ready for its runtime, external data beside it, and what each pass did."""

    model: Path
    reports: tuple[PassReport, ...]


def lower_graph(
    source: SourceModel,
    steps: tuple[PassStep, ...],
    calibration: Path,
    cache: Cache,
    time_limit_s: float = TIME_LIMIT_S,
) -> Lowered:
    """Applies `steps` to the source's graph in a child process; without steps, the graph as it was exported.

    Candidates share work: a run starts from the longest list of first steps that the cache has, and besides its end it
    keeps the graph in front of the first inexact step. Raises LoweringError when a pass fails, the child crashes, or
    `time_limit_s` passes.
    """
    if not steps:
        return Lowered(source.graph, ())
    keys = _make_keys(source, steps, calibration)

    def make(folder: Path) -> None:
        done = next((n for n in range(len(steps) - 1, 0, -1) if cache.find(CACHE_KIND, keys[n - 1])), 0)
        begun = cache.find(CACHE_KIND, keys[done - 1]) if done else None
        exact = len(list(takewhile(lambda step: find_pass(step.name).exact, steps)))
        shared = exact if done < exact < len(steps) else None
        keep = tuple(n - done for n in (shared, len(steps)) if n is not None)
        with TemporaryDirectory(dir=folder) as scratch:
            request = Request(
                model=begun / MODEL_FILE if begun else source.graph,
                steps=steps[done:],
                geometry=source.info.geometry,
                calibration=calibration,
                out=Path(scratch),
                keep=keep,
            )
            file = Path(scratch, "request.json")
            write_request(file, request)
            if failure := run_child("packc.passes.worker", file, "the lowering", time_limit_s):
                raise LoweringError(failure)
            earlier = read_reports(begun) if begun else ()
            if shared is not None:
                part = Path(scratch, str(shared - done))
                cache.get_or_make(CACHE_KIND, keys[shared - 1], lambda entry: _publish(part, entry, earlier))
            _publish(Path(scratch, str(len(steps) - done)), folder, earlier)

    entry = cache.get_or_make(CACHE_KIND, keys[-1], make)
    return Lowered(entry / MODEL_FILE, read_reports(entry))


def _publish(made: Path, entry: Path, earlier: tuple[PassReport, ...]) -> None:
    """Moves what the worker made into `entry`, the reports of the steps before it put first."""
    reports = (*earlier, *read_reports(made))
    for file in made.iterdir():
        file.rename(entry / file.name)
    write_reports(entry, reports)


def _make_keys(source: SourceModel, steps: Sequence[PassStep], calibration: Path) -> list[str]:
    """One cache key for each list of first steps, the shortest first."""
    beside = [file for file in source.graph.parent.rglob("*") if file.is_file()]
    common = {
        "graph": fingerprint_files(beside, source.graph.parent),
        "main": source.graph.name,
        "geometry": source.info.geometry,
        **identify_passes(),
    }
    keys = []
    for count in range(1, len(steps) + 1):
        taken = steps[:count]
        calibrates = any(find_pass(step.name).calibrates for step in taken)
        samples = fingerprint_files([calibration], calibration.parent) if calibrates else None
        keys.append(cache_key(**common, steps=[str(step) for step in taken], calibration=samples))
    return keys


def identify_passes() -> dict[str, object]:
    """What decides, beside their inputs, what the passes make: the versions of the tools and their own source."""
    folder = Path(__file__).parent
    return {
        "tools": {tool: _find_version(tool) for tool in TOOLS},
        "packc": __version__,
        "code": fingerprint_files(folder.glob("*.py"), folder),
    }


def _find_version(tool: str) -> str | None:
    try:
        return version(tool)
    except PackageNotFoundError:
        return None
