"""Takes one architecture through ingest, the graph passes and ONNX Runtime, and says how far it came."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

import numpy as np
from architectures import Architecture

from checkpoints import make_config, write_config, write_weights
from packc.candidate import Candidate
from packc.data.generate import generate_samples
from packc.errors import PackError, SourceError
from packc.ingest.inspect import inspect_source
from packc.ingest.request import ANSWERS_FILE, CALIBRATION_FILE, INPUTS_FILE, Request, read_source
from packc.ingest.source import SourceInfo, SourceModel
from packc.ingest.worker import run_request
from packc.passes.graph_pass import PassContext, PassError
from packc.passes.model_file import load_model, save_model
from packc.passes.worker import run_step
from packc.quality.metrics import default_metric, score_answers
from packc.runtimes import onnxruntime_engine as engine
from packc.runtimes.onnxruntime import OnnxRuntime
from packc.samples import RawSamples, load_samples, save_samples
from packc.spec.model import ModelSection, WorkloadSection
from packc.target import Target

Outcome = Literal["builds", "refused", "fails", "not made"]
SAMPLES = 16
EXACT_ERROR = 1e-3
"""Largest difference of an exact recipe, relative to the largest magnitude of the answers."""

MISMATCH = re.compile(
    r"mat1 and mat2|normalized_shape|must match the size|is invalid for input|split_with_sizes|Given groups"
    r"|running_mean|Given input s|index out of range|spatial size"
)
"""Errors of tensors that do not fit each other: the shrunk config is wrong, not the architecture."""


@dataclass(frozen=True, slots=True)
class Row:
    """What came of one architecture."""

    model_type: str
    architecture: str
    outcome: Outcome
    task: str = ""
    attentions: str = ""
    """Fused of expected, "4 of 4"; empty where nothing is expected."""
    int8: str = ""
    """"yes" when the first int8 recipe runs, "no" when it cannot apply; random weights cannot judge its quality."""
    reason: str = ""


def check_architecture(architecture: Architecture, target: Target) -> Row:
    """Makes the checkpoint and builds it without timing anything; never raises for what the model does."""
    names = (architecture.model_type, architecture.name)
    with TemporaryDirectory(prefix="pack-coverage-") as scratch:
        folder = Path(scratch, "checkpoint")
        try:
            config = make_config(architecture)
            write_config(folder, config)
        except Exception as error:
            return Row(*names, "not made", reason=_line(error))
        try:
            inspect_source(ModelSection(name="m", source=str(folder)))
        except SourceError as error:
            return Row(*names, "refused", reason=_line(error, scratch))
        try:
            write_weights(folder, config, architecture.name)
        except Exception as error:
            return Row(*names, "not made", reason=_line(error))
        task = ""
        try:
            info = inspect_source(ModelSection(name="m", source=str(folder)))
            task = info.task
            return _build(info, target, Path(scratch), names)
        except Exception as error:
            if MISMATCH.search(str(error)):
                return Row(*names, "not made", task=task, reason=f"its small config does not run: {_line(error)}")
            if isinstance(error, SourceError) and not str(error).startswith("the exported graph"):
                return Row(*names, "refused", task=task, reason=_line(error, scratch))
            return Row(*names, "fails", task=task, reason=_line(error, scratch))


def _build(info: SourceInfo, target: Target, scratch: Path, names: tuple[str, str]) -> Row:
    source = _ingest(info, scratch)
    candidates, _ = OnnxRuntime().candidates(info, target, ("fp32", "int8"))
    exact = [candidate for candidate in candidates if candidate.precision == "fp32"][-1]
    attentions = _check_exact(exact, source, scratch)
    lossy = next((candidate for candidate in candidates if candidate.precision == "int8"), None)
    int8 = _run_int8(lossy, source, scratch) if lossy else ""
    return Row(*names, "builds", task=info.task, attentions=attentions, int8=int8)


def _ingest(info: SourceInfo, scratch: Path) -> SourceModel:
    samples = generate_samples(info, WorkloadSection())
    some = RawSamples(samples.origin, samples.texts[:SAMPLES], samples.images[:SAMPLES])
    for name in ("export", "answers"):
        (scratch / name).mkdir()
    run_request(Request(info, scratch / "export", True, scratch / "answers", some, some, ()))
    return read_source(scratch / "export", info)


def _lower(candidate: Candidate, source: SourceModel, scratch: Path) -> tuple[Path, str]:
    """The lowered graph, and what became of its attentions."""
    model = load_model(source.graph)
    attentions = ""
    for step in candidate.passes:
        calibration = scratch / "answers" / CALIBRATION_FILE
        with TemporaryDirectory(dir=scratch) as folder:
            context = PassContext(source.info.geometry, step.options, calibration, Path(folder))
            report = run_step(step, model, context)
        if step.name == "fuse_attention" and report.expected is not None:
            attentions = f"{report.fused} of {max(report.fused, report.expected)}"
    out = scratch / candidate.id / "model.onnx"
    out.parent.mkdir()
    save_model(model, out)
    return out, attentions


def _answer(graph: Path, source: SourceModel, scratch: Path) -> Path:
    session = engine.load(str(graph), {"spinning": False}, threads=1)
    out = graph.with_name("answers.npz")
    save_samples(out, (engine.run(session, sample) for sample in load_samples(scratch / "answers" / INPUTS_FILE)))
    return out


def _check_exact(candidate: Candidate, source: SourceModel, scratch: Path) -> str:
    graph, attentions = _lower(candidate, source, scratch)
    found = load_samples(_answer(graph, source, scratch))
    for sample, expected in zip(found, load_samples(scratch / "answers" / ANSWERS_FILE), strict=True):
        for name, wanted in expected.items():
            scale = max(float(np.abs(wanted).max()), 1e-3)
            error = float(np.abs(sample[name].astype(np.float64) - wanted.astype(np.float64)).max())
            if not error <= EXACT_ERROR * scale:
                raise PackError(f"{candidate.id}: {name} is off by {error / scale:.2g} of its magnitude")
    return attentions


def _run_int8(candidate: Candidate, source: SourceModel, scratch: Path) -> str:
    """Whether int8 runs and answers with finite numbers: "yes", or "no" when the pass says that it cannot apply."""
    try:
        graph, _ = _lower(candidate, source, scratch)
    except PassError as error:
        if "cannot apply" in str(error):
            return "no"
        raise
    metric = default_metric(source.info.task)
    score_answers(metric, scratch / "answers" / ANSWERS_FILE, _answer(graph, source, scratch), source.answer)
    return "yes"


def _line(error: Exception, scratch: str = "") -> str:
    """One line, without the folder's name."""
    text = str(error) if isinstance(error, PackError) else f"{type(error).__name__}: {error}"
    return " ".join(text.replace(f"{scratch}/checkpoint", "the checkpoint").split())[:300]
