"""The child process that loads a source model: `python -m packc.ingest.worker request.json`.

It exports the model, compares the export with it, and answers the samples, whichever the request asks for. On failure
it writes `failure.json` beside the request and exits with 1; what libraries print goes where the parent sends it.
"""

from __future__ import annotations

import ctypes
import errno
import gc
import signal
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

from packc.errors import DataError, PackError
from packc.ingest.answers import answer_samples
from packc.ingest.export import export_module, shorten_message
from packc.ingest.load_source import load_source
from packc.ingest.model_inputs import make_inputs
from packc.ingest.onnx_graph import copy_onnx, has_convolutions
from packc.ingest.parity import Probe, compare_export, make_probes
from packc.ingest.reference import OnnxReference, Reference
from packc.ingest.request import (
    ANSWERS_FILE,
    CALIBRATION_FILE,
    FAILURE_FILE,
    GRAPH_FILE,
    INPUTS_FILE,
    Failure,
    Request,
    read_request,
    write_failure,
    write_source,
    write_training,
)
from packc.ingest.source import SourceInfo, SourceModel
from packc.ingest.student import StudentPlan, make_student
from packc.ingest.train import train_student
from packc.samples import save_numbered, save_samples
from packc.tensors import TensorSpec

PR_SET_PDEATHSIG = 1
PREFERRED_OUTPUTS = ("sentence_embedding", "logits", "start_logits")
"""Of an .onnx file with several outputs, the one that clients want; else its first."""

EVALUATION_SEED, CALIBRATION_SEED = 0, 1


def run_request(request: Request) -> None:
    """Does what `request` asks for. Raises PackError."""
    if request.info.origin == "onnx":
        _ingest_onnx(request)
    elif request.student is not None:
        _distill(request, request.student)
    else:
        _ingest_torch(request)


@contextmanager
def name_step(step: str) -> Iterator[None]:
    """Has the error of what is done within, whatever it is, say that it failed in this step: "exporting x:y"."""
    try:
        yield
    except Exception as error:
        error.add_note(step)
        raise


def _ingest_onnx(request: Request) -> None:
    graph, location = request.export / GRAPH_FILE, request.info.location
    with name_step(f"reading {location}"):
        if request.make_export:
            copy_onnx(Path(location), graph)
        reference = OnnxReference(graph)
        inputs, outputs = reference.read_signature()
    if request.answers is not None:
        with name_step(f"running {location}"):
            _write_answers(request, reference, inputs, request.answers)
    if request.make_export:
        answer = next((name for name in PREFERRED_OUTPUTS if name in reference.outputs), outputs[0].name)
        found = has_convolutions(graph)
        write_source(SourceModel(request.info, graph, inputs, outputs, answer, 0.0, "given as .onnx", found))


def _ingest_torch(request: Request) -> None:
    """The source answers first and is freed before the export is loaded: both at once would take twice the memory."""
    info = request.info
    with name_step(f"loading {info.location}"):
        reference = load_source(info, request.search_path)
    probes = []
    if request.answers is not None:
        with name_step(f"running {info.location}"):
            _write_answers(request, reference, reference.read_inputs(), request.answers)
    if request.make_export:
        with name_step(f"exporting {info.location}"):
            export_module(reference, request.export / GRAPH_FILE)
            probes = make_probes(reference, info)
    answer = reference.outputs[0]
    del reference
    gc.collect()
    if request.make_export:
        with name_step(f"comparing the export of {info.location} with it"):
            _write_source(info, request.export / GRAPH_FILE, probes, answer)


def _distill(request: Request, plan: StudentPlan) -> None:
    """Trains a student and exports it as any other source, compared with the student itself."""
    info = request.info
    with name_step(f"loading {info.location}"):
        teacher = load_source(info, request.search_path)
    with name_step(f"training a student of {info.location}"):
        inputs = make_inputs(request.calibration, info, teacher.read_inputs(), CALIBRATION_SEED)
        student = make_student(teacher, plan.layers, plan.of_layers)
        write_training(request.export, train_student(student, teacher, info, list(inputs), plan))
    reference = student.reference
    graph = request.export / GRAPH_FILE
    with name_step(f"exporting the student of {info.location}"):
        export_module(reference, graph)
        _write_source(info, graph, make_probes(reference, info), reference.outputs[0])


def _write_source(info: SourceInfo, graph: Path, probes: Sequence[Probe], answer: str) -> None:
    """Compares the exported `graph` with its source's answers and describes it in source.json."""
    exported = OnnxReference(graph)
    parity = compare_export(exported, probes)
    inputs, outputs = exported.read_signature()
    exporter = _tool_versions("torch", "onnxscript", *(["transformers"] if info.origin == "huggingface" else []))
    found = has_convolutions(graph)
    write_source(SourceModel(info, graph, inputs, outputs, answer, parity, exporter, found))


def _write_answers(request: Request, reference: Reference, specs: Sequence[TensorSpec], folder: Path) -> None:
    """Fills `folder` with the evaluation inputs, the source's answers to them, and the calibration inputs."""
    inputs = folder / INPUTS_FILE
    save_samples(inputs, make_inputs(request.evaluation, request.info, specs, EVALUATION_SEED))
    calibration = make_inputs(request.calibration, request.info, specs, CALIBRATION_SEED)
    save_samples(folder / CALIBRATION_FILE, calibration)
    answers = answer_samples(reference, inputs, batched=all(spec.is_batched for spec in specs))
    save_numbered(folder / ANSWERS_FILE, answers)


def _tool_versions(*packages: str) -> str:
    return ", ".join(f"{package} {version(package)}" for package in packages)


def main(path: Path) -> int:
    """Runs the request in the file at `path`; 0 when it is done, 1 when `failure.json` tells why not."""
    try:
        run_request(read_request(path))
    except Exception as error:
        failure = replace(_explain(error), traceback=traceback.format_exc())
        write_failure(path.with_name(FAILURE_FILE), failure)
        return 1
    return 0


def _explain(error: Exception) -> Failure:
    """What became of a run, and whose fault it is; of what nothing here foresaw, in which step it happened."""
    if isinstance(error, DataError):
        return Failure("data", tuple((entry.message, entry.hint) for entry in error.diagnostics))
    if isinstance(error, PackError):
        return Failure("source", ((str(error), error.hint),))
    if isinstance(error, MemoryError):
        return Failure("system", (("there is not enough memory to load and export the model", None),))
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        hint = "`pack cache gc` frees what the cache holds; PACK_CACHE_DIR moves it"
        return Failure("system", (("the disk is full: the exported model cannot be written", hint),))
    step = getattr(error, "__notes__", ["the worker"])[-1]
    told = f"{step} failed: {type(error).__name__}: {shorten_message(str(error))}"
    return Failure("system", ((told, "`--verbose` shows where it happened"),))


if __name__ == "__main__":
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)  # a killed build leaves no export running
    sys.exit(main(Path(sys.argv[1])))
