"""A small world for tests of the build: a runtime whose candidates are as fast, as wrong and as broken as a test says.

The model is a real ONNX file, specs, plans, jobs and packages are the real ones. Only the export, the graph passes, the
server and the page of the report are stood in for, and the runtime's engine is a few lines of Python.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models import make_tiny_onnx
from packc import runtimes
from packc.cache import Cache
from packc.candidate import Candidate, OptionValue, PassStep, Rejection
from packc.driver import best, curves, endings, evaluate, inputs, target, timing, ways
from packc.driver.endings import BuildOptions, TargetResult
from packc.driver.evaluate import Trial
from packc.driver.halving import search_candidates
from packc.driver.inputs import BuildInputs, gather_inputs
from packc.driver.target import build_target
from packc.errors import PackError
from packc.host import probe_host
from packc.ingest.ingest import Ingested
from packc.ingest.inspect import inspect_source
from packc.ingest.source import SourceInfo, SourceModel
from packc.jobs.job import Effort, Job
from packc.measure.curve import CurvePoint, ServiceCurve
from packc.package.manifest import ServedRecord
from packc.passes.lower import Lowered, LoweringError
from packc.plan import Plan, make_plan
from packc.runtimes.onnxruntime import OnnxRuntime
from packc.samples import save_samples
from packc.select import Outcome
from packc.server.load import LoadResult, Traffic
from packc.server.verify import Verified
from packc.serving.choices import Split
from packc.spec.model import Spec, TargetSpec
from packc.spec.read import read_spec
from packc.spec.resolve import resolve_targets
from packc.target import Target
from packc.tensors import Precision, TensorSpec
from served_packages import read_config

ENGINE = """
import os, time

def load(model, options, threads):
    if options["fault"] == "crash":
        os.abort()
    if options["fault"] == "raise":
        raise RuntimeError("no kernel for Attention")
    if options["fault"] == "hang" or options["fault"] == "hang when timed" and not os.path.exists("samples.npz"):
        time.sleep(60)
    return options

def run(options, inputs):
    time.sleep(options["ms"] / 1e3)
    return {"scores": inputs["features"][:, :4] + options["error"]}

def describe(options):
    return {"stub": "1.0"}
"""

DEFAULTS = BuildOptions()

SPEC = """
[model]
name = "tiny"
source = "tiny.onnx"

[quality]
metric = "max_error"
min = 0.1
"""

HOST = """
[targets.cpu]
profile = "host"
"""


@dataclass(frozen=True, slots=True)
class Way:
    """How one candidate behaves."""

    ms: float = 1.0
    """Time of a call."""
    error: float = 0.0
    """What it adds to every answer; the spec's bound is 0.1."""
    fault: str = ""
    """"lowering", or of its job: "raise", "crash", "hang", "hang when timed"."""
    precision: Precision = "fp32"


class StubRuntime(OnnxRuntime):
    """Offers the ways of the world as its candidates, on CPUs only."""

    def __init__(self, engine: Path, ways: Mapping[str, Way]) -> None:
        self.engine = engine  # type: ignore[misc]
        self.ways = ways

    def candidates(
        self, info: SourceInfo, target: Target, precisions: tuple[Precision, ...]
    ) -> tuple[tuple[Candidate, ...], tuple[Rejection, ...]]:
        if target.kind != "cpu":
            return super().candidates(info, target, precisions)
        return tuple(make_candidate(name, way) for name, way in self.ways.items() if way.precision in precisions), ()

    def job_options(self, candidate: Candidate, threads: int) -> Mapping[str, OptionValue]:
        way = self.ways[candidate.id]
        return {"ms": way.ms, "error": way.error, "fault": way.fault}

    def versions(self) -> Mapping[str, str]:
        return {"stub": "1.0"}


def make_candidate(name: str, way: Way) -> Candidate:
    steps = (PassStep("broken_pass"),) if way.fault == "lowering" else ()
    return Candidate(name, "onnxruntime", way.precision, steps)


@dataclass
class World:
    """What a test looks at and turns."""

    folder: Path
    ways: dict[str, Way]
    cache: Cache
    served_ms: dict[str, float] = field(default_factory=dict)
    """Latency through the server by precision of the package; 5 where nothing is said."""
    served: list[str] = field(default_factory=list)
    """Precisions of the packages that went through the server."""
    probed: list[tuple[int, int, Traffic]] = field(default_factory=list)
    """Instances, threads and load of each short look at a package through the server."""
    probe: Callable[[int, int, Traffic], float] | None = None
    """Latency of such a look, ms; by instances, threads and load. As `served_ms` where nothing is said."""
    checks: list[str] = field(default_factory=list)
    """Candidates whose check ran."""
    timings: list[list[str]] = field(default_factory=list)
    """Candidates of each timing that ran."""

    @property
    def final(self) -> Path:
        return self.folder / "build" / "tiny" / "cpu"

    @property
    def missed(self) -> Path:
        return self.final.with_name("cpu.missed")

    @property
    def jobs(self) -> Path:
        return self.final.with_name("cpu.jobs")

    def write_spec(self, *sections: str, targets: str = HOST) -> Path:
        path = self.folder / "spec.toml"
        path.write_text(SPEC + "\n".join(sections) + targets)
        return path

    def read(self, *sections: str) -> tuple[Spec, TargetSpec]:
        spec = read_spec(self.write_spec(*sections))
        return spec, resolve_targets(spec)[0]

    def gather(self, *sections: str, target: Target | None = None, verify: bool = True) -> BuildInputs:
        spec, target_spec = self.read(*sections)
        return gather_inputs(target_spec, target or probe_host(), inspect_source(spec.model), verify=verify)

    def build(self, *sections: str, target: Target | None = None, options: BuildOptions = DEFAULTS) -> TargetResult:
        """Builds the one target of a spec with these sections at `final`."""
        inputs = self.gather(*sections, target=target, verify=options.verify)
        return build_target(inputs, self.final, options, self.cache)

    def ingest(self, info: SourceInfo | None = None) -> Ingested:
        """What ingest would have made: 12 samples whose answers are the first four features."""
        folder = self.folder / "ingested"
        if not folder.is_dir():
            folder.mkdir()
            make_tiny_onnx(folder / "model.onnx")
            rows = np.random.default_rng(0).standard_normal((12, 1, 8)).astype(np.float32)
            save_samples(folder / "inputs.npz", [{"features": row} for row in rows])
            save_samples(folder / "answers.npz", [{"scores": row[:, :4]} for row in rows])
        return Ingested(
            SourceModel(
                info=info or inspect_source(self.read()[0].model),
                graph=folder / "model.onnx",
                inputs=(TensorSpec("features", "float32", ("batch", 8)),),
                outputs=(TensorSpec("scores", "float32", ("batch", 4)),),
                answer="scores",
                parity_max_error=0.0,
                exporter="by hand",
            ),
            folder / "inputs.npz",
            folder / "answers.npz",
            folder / "inputs.npz",
        )

    def make_trial(self, *sections: str, **changes: Any) -> Trial:
        """A trial as `build_target` makes it, with some of its fields changed."""
        trial = target.make_trial(self.gather(*sections), self.ingest(), self.cache)
        return dataclasses.replace(trial, **changes)

    def search(self, *sections: str, exhaustive: bool = False, **changes: Any) -> dict[str, Outcome]:
        """What becomes of the candidates, by id."""
        search = search_candidates(self.candidates(), self.make_trial(*sections, **changes), exhaustive=exhaustive)
        assert search.skipped == []
        return {outcome.candidate.id: outcome for outcome in search.outcomes}

    def candidates(self) -> list[Candidate]:
        return [make_candidate(name, way) for name, way in self.ways.items()]


def install_world(patch: pytest.MonkeyPatch, folder: Path, cache: Path | None = None) -> World:
    """Puts the stand-ins in place and returns what steers them; its files are below `folder`, as is its cache."""
    make_tiny_onnx(folder / "tiny.onnx")
    engine = folder / "stub_engine.py"
    engine.write_text(ENGINE)
    world = World(folder, {"base": Way()}, Cache(cache or folder / "cache"))
    runtime = StubRuntime(engine, world.ways)
    patch.setenv("PACK_CACHE_DIR", str(world.cache.root))
    patch.setattr(runtimes, "RUNTIMES", (runtime,))

    def plan(info: SourceInfo, of: Target, optimize: Any) -> Plan:
        return make_plan(info, of, optimize, (runtime,))

    patch.setattr(target, "make_plan", plan)
    patch.setattr(target, "ingest_model", lambda info, *_: world.ingest(info))
    patch.setattr(target, "require_server", lambda cache: None)
    patch.setattr(target, "find_roofline", lambda *_: None)
    patch.setattr(best, "verify_package", lambda *args, **kwargs: _serve(world, *args, **kwargs))
    patch.setattr(ways, "find_curve", lambda *args: _draw_curve(world, *args))
    patch.setattr(ways, "probe_package", lambda *args, **kwargs: _probe(world, *args, **kwargs))
    patch.setattr(evaluate, "lower_graph", _lower)
    patch.setattr(timing, "ROUNDS", 1)
    patch.setattr(endings, "write_html", lambda manifest, path: path.write_text("<!doctype html>"))
    patch.setattr(inputs, "list_libraries", functools.cache(inputs.list_libraries))
    _hasten(patch)
    _count(patch, world)
    return world


def _lower(source: SourceModel, steps: Sequence[PassStep], *_: object) -> Lowered:
    if steps:
        raise LoweringError(f"{steps[0]}: expected 6 fusions, found 5")
    return Lowered(source.graph, ())


def _serve(world: World, package: Path, model: str, workload: Any, precision: str, **_: object) -> Verified:
    if not (package / "model_repository" / model / "config.pbtxt").is_file():
        raise PackError("there is no model to serve")
    world.served.append(precision)
    ms = world.served_ms.get(precision, 5.0)
    return Verified(ServedRecord(ms, ms, 1e3 / ms, 1, 100, "triton stub", ms, 99.0, "http", None, 0.0), None)


def _draw_curve(world: World, outcome: Outcome, split: Split, batches: Sequence[int], *_: object) -> ServiceCurve:
    """What the candidate's way says, without a process."""
    ms = world.ways[outcome.candidate.id].ms
    points = tuple(CurvePoint(batch, None, (ms,) * 3) for batch in batches)
    return ServiceCurve(split.instances, split.threads, points)


@contextmanager
def _probe(
    world: World, package: Path, model: str, *_: object, **__: object
) -> Iterator[Callable[[Traffic], LoadResult]]:
    config = read_config(package / "model_repository" / model)
    instances = config.instance_group[0].count
    threads = int(config.parameters["intra_op_thread_count"].string_value)

    def probe(traffic: Traffic) -> LoadResult:
        world.probed.append((instances, threads, traffic))
        ms = world.probe(instances, threads, traffic) if world.probe else 5.0
        requests = 100
        per_s = traffic.rate_per_s or 1e3 * traffic.concurrency / ms
        return LoadResult(
            (ms,) * requests, requests / per_s, traffic.concurrency, traffic.rate_per_s, 1, 0, "", False, 0.0
        )

    yield probe


def _hasten(patch: pytest.MonkeyPatch) -> None:
    """Jobs make three calls a case."""
    quick = Effort(warmup=0, min_calls=3, min_seconds=0.0, max_seconds=0.2)

    def hasten(make: Any) -> Any:
        def made(*args: Any, **kwargs: Any) -> Job:
            job: Job = make(*args, **kwargs)
            return dataclasses.replace(job, efforts=(quick,) * len(job.cases))

        return made

    patch.setattr(evaluate, "check_job", hasten(evaluate.check_job))
    patch.setattr(curves, "curve_job", hasten(curves.curve_job))
    patch.setattr(timing, "short_job", hasten(timing.short_job))
    patch.setattr(timing, "timing_job", hasten(timing.timing_job))


def _count(patch: pytest.MonkeyPatch, world: World) -> None:
    run_bundle, measure_bundles = evaluate.run_bundle, timing.measure_bundles

    def run(folder: Path, timeout_s: float, **options: Any) -> Any:
        world.checks.append(evaluate.TypeAdapter(Job).validate_json((folder / "job.json").read_bytes()).candidate)
        return run_bundle(folder, timeout_s, **options)

    def measure(bundles: Mapping[str, Path], rounds: int, timeout_s: float, *options: Any) -> Any:
        world.timings.append(list(bundles))
        return measure_bundles(bundles, rounds, timeout_s, *options)

    patch.setattr(evaluate, "run_bundle", run)
    patch.setattr(timing, "measure_bundles", measure)


def write_tensors(path: Path, seed: int = 0, count: int = 6) -> Path:
    """`count` samples for the world's model."""
    rng = np.random.default_rng(seed)
    save_samples(path, [{"features": rng.standard_normal((1, 8)).astype(np.float32)} for _ in range(count)])
    return path


def snapshot(folder: Path) -> dict[str, bytes]:
    """Path -> content of all files below `folder`."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
