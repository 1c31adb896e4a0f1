"""Has a runtime's own compiler make an artifact of a lowered graph, in a child process; the cache keeps it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from pydantic import TypeAdapter

from packc import __version__
from packc.cache import Cache, cache_key
from packc.candidate import PassStep
from packc.child import run_child
from packc.errors import PackError
from packc.host import list_instructions
from packc.ingest.fingerprint import fingerprint_files
from packc.ingest.ingest import content_of, find_tool_versions
from packc.ingest.source import Geometry, SourceInfo
from packc.ingest.torch_module import search_path
from packc.runtimes.runtime import Runtime

TIME_LIMIT_S = 1800.0
CACHE_KIND = "artifact"
REMARKS_FILE = "remarks.json"


class CompileError(PackError):
    """A runtime's compiler failed; the message is one line."""


@dataclass(frozen=True, slots=True)
class CompileRequest:
    """What a compiler works on. It leaves the artifact in `out`, its main file under the runtime's name for it."""

    compiler: str
    model: Path
    """The lowered ONNX graph, external data beside it."""
    step: PassStep
    geometry: Geometry | None
    calibration: Path | None
    """Samples file (packc.samples) with inputs only, for steps that calibrate."""
    out: Path
    info: SourceInfo | None = None
    """The source that the graph was exported from, for compilers that work on it."""
    cache: Path | None = None
    """Root of the build's cache, for what a compiler learns about a device."""
    search_path: tuple[str, ...] = ()
    """Where the modules of factories are looked for."""


@dataclass(frozen=True, slots=True)
class Compiled:
    """An artifact ready for its runtime, and what its compiler remarked."""

    model: Path
    remarks: tuple[str, ...]


def compile_artifact(
    runtime: Runtime,
    step: PassStep,
    model: Path,
    info: SourceInfo,
    calibration: Path,
    cache: Cache,
    time_limit_s: float = TIME_LIMIT_S,
    *,
    reused: str = "",
) -> Compiled:
    """The artifact that `runtime`'s compiler makes of the graph at `model`, or of its source `info`, as `step` says.

    What a compiler makes and remarks may be for this CPU, so that each kind of CPU has artifacts of its own. One that
    was made before is told of in the words of `reused`.
    Raises CompileError when the compiler fails or crashes, or `time_limit_s` passes.
    """
    assert runtime.compiler is not None, "only runtimes with a compiler offer candidates with a build step"
    compiler, geometry = runtime.compiler, info.geometry
    source = info if runtime.reads == "source" else None
    samples = calibration if runtime.calibrates(step) else None
    places = tuple(search_path()) if source else ()

    def make(folder: Path) -> None:
        with TemporaryDirectory(dir=folder) as scratch:
            out = Path(scratch, "artifact")
            out.mkdir()
            file = Path(scratch, "request.json")
            request = CompileRequest(compiler, model, step, geometry, samples, out, source, cache.root, places)
            file.write_bytes(TypeAdapter(CompileRequest).dump_json(request))
            if failure := run_child("packc.runtimes.compile_worker", file, "the compiler", time_limit_s):
                raise CompileError(failure)
            for made in out.iterdir():
                made.rename(folder / made.name)

    own = Path(__file__).parent
    key = cache_key(
        graph=fingerprint_files([file for file in model.parent.rglob("*") if file.is_file()], model.parent),
        main=model.name,
        step=str(step),
        geometry=geometry,
        calibration=fingerprint_files([samples], samples.parent) if samples else None,
        cpu=list_instructions(),
        source=[content_of(source), find_tool_versions(source)] if source else None,
        versions={"packc": __version__, **runtime.versions(), **runtime.compiler_versions()},
        code=fingerprint_files(own.glob("*.py"), own),
    )
    entry = cache.get_or_make(CACHE_KIND, key, make, reused=reused)
    remarks = TypeAdapter(tuple[str, ...]).validate_json((entry / REMARKS_FILE).read_bytes())
    return Compiled(entry / runtime.model_filename, remarks)
