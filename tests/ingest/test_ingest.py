from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from models import make_sentences
from packc.cache import Cache
from packc.errors import DataError, MissingError, PackError, SourceError
from packc.ingest import ingest
from packc.ingest.ingest import ingest_model
from packc.ingest.inspect import inspect_source
from packc.ingest.request import FAILURE_FILE, Failure, Request, write_failure
from packc.ingest.source import SourceInfo
from packc.samples import RawSamples, load_samples
from packc.spec.model import ModelSection

GENERATED = RawSamples("generated")


@pytest.fixture
def tensors_info(tiny_onnx_path: Path) -> SourceInfo:
    return inspect_source(ModelSection(name="m", source=str(tiny_onnx_path)))


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[Request]:
    """The requests that went to a worker."""
    made: list[Request] = []
    real = ingest.run_worker

    def run(request: Request) -> None:
        made.append(request)
        real(request)

    monkeypatch.setattr(ingest, "run_worker", run)
    return made


def test_only_what_the_cache_lacks_is_done(
    tensors_info: SourceInfo, runs: list[Request], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cache = Cache(tmp_path)
    first = ingest_model(tensors_info, GENERATED, GENERATED, cache)
    with caplog.at_level("INFO"):
        again = ingest_model(tensors_info, GENERATED, GENERATED, cache)
    assert caplog.messages == [f"{tensors_info.location}: exported and run before"]
    assert first == again
    assert [request.make_export for request in runs] == [True]
    other = tmp_path / "eval.npz"
    other.write_bytes(first.calibration.read_bytes())
    changed = ingest_model(tensors_info, RawSamples("eval.npz", tensors=other), GENERATED, cache)
    assert changed.source == first.source
    assert changed.answers != first.answers
    assert [request.make_export for request in runs] == [True, False]


def test_a_lost_export_is_made_again(tensors_info: SourceInfo, runs: list[Request], tmp_path: Path) -> None:
    import shutil

    cache = Cache(tmp_path)
    first = ingest_model(tensors_info, GENERATED, GENERATED, cache)
    shutil.rmtree(first.source.graph.parent)
    assert ingest_model(tensors_info, GENERATED, GENERATED, cache).source.graph.is_file()
    assert [(request.make_export, request.answers is None) for request in runs] == [(True, False), (True, True)]


def test_answers_are_those_of_the_graph(tensors_info: SourceInfo, tmp_path: Path) -> None:
    import onnxruntime

    done = ingest_model(tensors_info, GENERATED, GENERATED, Cache(tmp_path))
    session = onnxruntime.InferenceSession(done.source.graph, providers=["CPUExecutionProvider"])
    for inputs, answers in zip(load_samples(done.inputs), load_samples(done.answers), strict=True):
        np.testing.assert_allclose(session.run(None, inputs)[0], answers["scores"], atol=1e-5)


def failing_child(kind: str) -> object:
    def run(request: Request, file: Path, stream: object) -> int:
        write_failure(file.with_name(FAILURE_FILE), Failure(kind, (("what happened", "mend it"),), "where"))  # type: ignore[arg-type]
        return 1

    return run


@pytest.mark.parametrize(("kind", "error"), [("source", SourceError), ("data", DataError), ("system", PackError)])
def test_failures_keep_their_kind(
    kind: str,
    error: type[PackError],
    tensors_info: SourceInfo,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("DEBUG")
    monkeypatch.setattr(ingest, "_run_child", failing_child(kind))
    with pytest.raises(error, match="what happened") as caught:
        ingest_model(tensors_info, GENERATED, GENERATED, Cache(tmp_path))
    assert type(caught.value) is error
    assert "where" in caplog.messages
    assert not list(tmp_path.glob("*/[0-9a-f]*"))


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "was killed, most likely for want of memory"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", r"crashed \(SIGSEGV\)"),
        ("print('loading'); raise SystemExit(3)", r"crashed \(exit code 3\):\n  loading"),
    ],
)
def test_crashes_are_told(
    code: str, message: str, tensors_info: SourceInfo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(request: Request, file: Path, stream: int) -> int:
        return subprocess.run([sys.executable, "-c", code], stdout=stream, check=False).returncode

    monkeypatch.setattr(ingest, "_run_child", run)
    with pytest.raises(SourceError, match=message):
        ingest_model(tensors_info, GENERATED, GENERATED, Cache(tmp_path))


def test_a_hang_is_stopped(tensors_info: SourceInfo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ingest, "TIME_LIMIT_S", 0.01)
    with pytest.raises(SourceError, match="took more than"):
        ingest_model(tensors_info, GENERATED, GENERATED, Cache(tmp_path))


def test_missing_libraries_are_named(tensors_info: SourceInfo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ingest, "TOOLS", ("torch", "tokenizers"))
    with pytest.raises(MissingError, match="needs onnx, onnxruntime"):
        ingest_model(tensors_info, GENERATED, GENERATED, Cache(tmp_path))


@pytest.mark.e2e
def test_text_encoder(bert_info: SourceInfo, tmp_path: Path) -> None:
    texts = RawSamples("eval.jsonl", texts=tuple(make_sentences(12)))
    done = ingest_model(bert_info, texts, RawSamples("calib.jsonl", texts=texts.texts[:5]), Cache(tmp_path))
    assert (done.source.answer, done.source.parity_max_error < 1e-5) == ("sentence_embedding", True)
    inputs, answers = load_samples(done.inputs), load_samples(done.answers)
    assert (len(inputs), len(answers), len(load_samples(done.calibration))) == (12, 12, 5)
    assert {answer["sentence_embedding"].shape for answer in answers} == {(1, 32)}
    assert {sample["input_ids"].shape[1] for sample in inputs} == {7, 8, 9}


@pytest.mark.e2e
def test_factory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "ranker.py").write_text(
        "import torch\n\n"
        "def make_ranker():\n"
        "    torch.manual_seed(0)\n"
        "    layers = (torch.nn.Linear(8, 16), torch.nn.ReLU(), torch.nn.Linear(16, 1))\n"
        "    return torch.nn.Sequential(*layers), {'input': torch.randn(1, 8)}\n"
    )
    monkeypatch.chdir(tmp_path)
    info = inspect_source(ModelSection(name="ranker", source="ranker:make_ranker"))
    done = ingest_model(info, GENERATED, GENERATED, Cache(tmp_path / "cache"))
    assert [spec.shape for spec in (*done.source.inputs, *done.source.outputs)] == [("batch", 8), ("batch", 1)]
    assert done.source.answer == "output"


@pytest.mark.e2e
def test_image_classifier_is_accurate(digits_classifier_dir: Path, digits_images_dir: Path, tmp_path: Path) -> None:
    info = inspect_source(ModelSection(name="digits", source=str(digits_classifier_dir)))
    images = tuple(sorted(digits_images_dir.glob("*/*.png")))
    samples = RawSamples("digits", images=images, labels=tuple(image.parent.name for image in images))
    done = ingest_model(info, samples, RawSamples("digits", images=images[:20]), Cache(tmp_path))
    found = [info.labels[int(answer["logits"].argmax())] for answer in load_samples(done.answers)]
    assert sum(a == b for a, b in zip(found, samples.labels, strict=True)) / len(images) > 0.9


@pytest.mark.e2e
def test_minilm(minilm_dir: Path, tmp_path: Path) -> None:
    info = inspect_source(ModelSection(name="minilm", source=str(minilm_dir)))
    texts = ("A man is playing a guitar.", "Someone performs guitar music.", "Stock markets fell sharply.")
    done = ingest_model(info, RawSamples("a", texts=texts), RawSamples("b", texts=texts), Cache(tmp_path))
    assert done.source.parity_max_error < 1e-5
    guitar, music, stocks = (answer["sentence_embedding"][0] for answer in load_samples(done.answers))
    assert guitar @ music > 0.6 > 0.2 > guitar @ stocks
