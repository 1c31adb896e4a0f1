"""Job bundles around engines of a few lines, for tests of jobs and measuring."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from packc.jobs.bundle import write_bundle
from packc.jobs.job import Effort, Job
from packc.samples import save_samples
from packc.tensors import ShapeCase

TYPICAL = ShapeCase("typical", 1, 4)
LARGEST = ShapeCase("max", 2, 8)

DOUBLING = """
def load(model, options, threads):
    with open(model) as file:
        return float(file.read())

def run(session, inputs):
    return {"y": inputs["x"] * session, "unused": inputs["x"]}

def describe(session):
    return {"stub": "1.0"}
"""


def stub_job(cases: tuple[ShapeCase, ...] = (TYPICAL,), answer: bool = False, min_calls: int = 4) -> Job:
    effort = Effort(warmup=1, min_calls=min_calls, min_seconds=0.0, max_seconds=1.0)
    return Job(
        candidate="stub",
        runtime="stub",
        model="model/model.txt",
        options={"flag": True, "names": ("a", "b")},
        threads=1,
        cases=cases,
        efforts=(effort,) * len(cases),
        outputs=("y",) if answer else (),
        answer=answer,
    )


def stub_bundle(folder: Path, engine: str = DOUBLING, job: Job | None = None, factor: float = 2.0) -> Path:
    """A bundle in `folder`/bundle whose engine is the given code and whose samples are 3 vectors of 4 numbers."""
    artifact = folder / "artifact"
    artifact.mkdir(parents=True)
    (artifact / "model.txt").write_text(str(factor))
    (folder / "engine_source.py").write_text(engine)
    rng = np.random.default_rng(0)
    save_samples(folder / "samples.npz", [{"x": rng.normal(size=(1, 4)).astype(np.float32)} for _ in range(3)])
    job = job or stub_job(cases=())
    latency = folder / "latency.npz"
    save_samples(latency, [{"x": np.ones((case.batch, case.sequence or 4), np.float32)} for case in job.cases])
    samples, files = folder / "samples.npz", {"engine.py": folder / "engine_source.py"}
    write_bundle(folder / "bundle", job, (artifact / "model.txt",), samples, latency, files)
    return folder / "bundle"
