from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from packc.ingest import worker
from packc.ingest.inspect import inspect_source
from packc.ingest.request import (
    ANSWERS_FILE,
    CALIBRATION_FILE,
    FAILURE_FILE,
    INPUTS_FILE,
    Failure,
    Request,
    read_failure,
    read_request,
    read_source,
    write_request,
)
from packc.ingest.worker import main
from packc.samples import RawSamples, load_samples, save_samples
from packc.spec.model import ModelSection


@pytest.fixture
def request_file(tiny_onnx_path: Path, tmp_path: Path) -> Path:
    info = inspect_source(ModelSection(name="m", source=str(tiny_onnx_path)))
    for name in ("export", "answers"):
        (tmp_path / name).mkdir()
    generated = RawSamples("generated")
    write_request(
        tmp_path / "request.json",
        Request(info, tmp_path / "export", True, tmp_path / "answers", generated, generated, ()),
    )
    return tmp_path / "request.json"


def test_one_run_fills_both_folders(request_file: Path, tiny_onnx_path: Path) -> None:
    assert main(request_file) == 0
    folder = request_file.parent
    source = read_source(folder / "export", inspect_source(ModelSection(name="m", source=str(tiny_onnx_path))))
    assert (source.answer, source.parity_max_error) == ("scores", 0.0)
    assert source.exporter == "given as .onnx"
    assert not source.has_convolutions
    inputs, answers, calibration = (
        load_samples(folder / "answers" / name) for name in (INPUTS_FILE, ANSWERS_FILE, CALIBRATION_FILE)
    )
    assert len(inputs) == len(answers) == len(calibration)
    assert answers[0]["scores"].shape == (1, 4)
    assert not np.array_equal(inputs[0]["features"], calibration[0]["features"])


def test_bad_samples_become_a_failure_of_the_data(request_file: Path, tmp_path: Path) -> None:
    from dataclasses import replace

    save_samples(tmp_path / "eval.npz", [{"wrong": np.ones(3)}])
    request = replace(read_request(request_file), evaluation=RawSamples("eval.npz", tensors=tmp_path / "eval.npz"))
    write_request(request_file, request)
    assert main(request_file) == 1
    failure = read_failure(tmp_path / FAILURE_FILE)
    assert failure is not None
    assert failure.kind == "data"
    assert failure.mistakes[0][0] == "eval.npz: sample 0: it has ['wrong'], not ['features']"


@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        (OSError(28, "No space left on device"), "system", "the disk is full: the exported model cannot be written"),
        (MemoryError(), "system", "there is not enough memory to load and export the model"),
        (ValueError("odd\n\nmodel"), "system", "the worker failed: ValueError: odd model"),
    ],
)
def test_what_nothing_foresaw(
    error: Exception, kind: str, message: str, request_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(request: Request) -> None:
        raise error

    monkeypatch.setattr(worker, "run_request", fail)
    assert main(request_file) == 1
    failure = read_failure(request_file.with_name(FAILURE_FILE))
    assert isinstance(failure, Failure)
    assert (failure.kind, failure.mistakes[0][0]) == (kind, message)
    assert failure.traceback.startswith("Traceback (most recent call last)")


def test_what_nothing_foresaw_names_its_step(request_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(path: Path, graph: Path) -> None:
        raise TypeError("The shape is frozen")

    monkeypatch.setattr(worker, "copy_onnx", fail)
    assert main(request_file) == 1
    failure = read_failure(request_file.with_name(FAILURE_FILE))
    assert failure is not None
    location = read_request(request_file).info.location
    assert failure.mistakes[0][0] == f"reading {location} failed: TypeError: The shape is frozen"
    assert 'raise TypeError("The shape is frozen")' in failure.traceback
