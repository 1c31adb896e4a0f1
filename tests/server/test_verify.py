"""What is around the server: workload, requests, the score of served answers. e2e/test_server.py has it whole."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import cast

import numpy as np
import pytest

from gpu_packages import make_gpu_manifest
from packc.errors import MissingError, UsageError
from packc.ingest.source import SourceModel
from packc.package.golden import GoldenSet, load_golden
from packc.package.manifest import ServingRecord
from packc.samples import Array, RawSamples, Sample, save_samples
from packc.server import verify
from packc.server.load import Traffic
from packc.server.verify import Evaluation, Workload, read_workload, recall_workload, verify_package
from packc.spec.model import MetricName, TargetSpec
from served_packages import make_manifest, write_tensor_package, write_text_package

WORKLOAD = Workload(Traffic(), 1, 99.0)


def make_source(labels: tuple[str, ...] = ()) -> SourceModel:
    """Only what scoring reads."""

    class Info:
        pass

    class Source:
        answer = "vector"
        info = Info()
        outputs = ()

    Info.labels = labels  # type: ignore[attr-defined]
    if not labels:
        from packc.tensors import TensorSpec

        Source.outputs = (TensorSpec("vector", "float32", ("batch", 2)),)  # type: ignore[assignment]
    return cast("SourceModel", Source())


def make_evaluation(
    tmp_path: Path, metric: MetricName, answers: list[Array], labels: tuple[str, ...] = ()
) -> Evaluation:
    save_samples(tmp_path / "answers.npz", [{"vector": answer} for answer in answers])
    raw = RawSamples("here", texts=tuple(f"text {i}" for i in range(len(answers))))
    return Evaluation(make_source(labels), raw, tmp_path / "inputs.npz", tmp_path / "answers.npz", metric)


TEXTS = GoldenSet("text", answers=(), source_answers=(), texts=("a",))


def serve(monkeypatch: pytest.MonkeyPatch, answers: list[dict[str, Array]]) -> list[str]:
    """Makes the server answer `answers`; the texts that it is asked, in order."""
    asked: list[str] = []

    def ask_all(url: str, model: str, payloads: list[Sample], traffic: Traffic) -> list[dict[str, Array]]:
        assert traffic.rate_per_s == 0, "a closed loop: a low rate would make it last for hours"
        start = len(asked)
        asked.extend(payload["text"][0, 0].decode() for payload in payloads)
        return answers[start : len(asked)]

    monkeypatch.setattr(verify, "ask_all", ask_all)
    return asked


def test_the_workload_comes_from_the_spec_or_the_package() -> None:
    document = {
        "target": "here",
        "profile": "host",
        "model": {"name": "m", "source": "x"},
        "workload": {"batch": {"typical": 2, "max": 4}, "concurrency": 3},
        "budget": {"percentile": 95.0},
        "quality": {},
        "calibration": {},
        "optimize": {},
        "serve": {},
    }
    assert read_workload(TargetSpec.model_validate(document)) == Workload(Traffic(3, 0.0), 2, 95.0)
    manifest = make_manifest("m")
    promises = replace(manifest.promises, concurrency=5, rate_per_s=20.0, batch=2)
    assert recall_workload(replace(manifest, promises=promises)) == Workload(Traffic(5, 20.0), 2, 99.0)


def test_a_package_on_a_gpu_is_warm_before_it_is_measured() -> None:
    manifest = make_gpu_manifest("h200", ("onnxruntime-cuda-fp16-fused",))
    chosen = replace(manifest, verdict=replace(manifest.verdict, chosen="onnxruntime-cuda-fp16-fused"))
    assert recall_workload(chosen).warm_instances == 0, "it is not known how many there are"
    assert recall_workload(replace(chosen, serving=ServingRecord(2, 1, 8, 0, ()))).warm_instances == 2
    on_cpu = replace(make_manifest("tiny"), serving=ServingRecord(2, 1, 8, 0, ()))
    assert recall_workload(on_cpu).warm_instances == 0


def test_embeddings_are_scored_under_the_graphs_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = [np.array([[1.0, float(i)]], np.float32) for i in range(1300)]
    asked = serve(monkeypatch, [{"embedding": vector * 2} for vector in vectors])
    evaluation = make_evaluation(tmp_path, "cosine", vectors)
    score = verify._score_endpoint("http://x", "m", TEXTS, evaluation, Traffic(2, rate_per_s=5.0))
    assert score is not None
    assert (score.metric, score.samples) == ("cosine", 1300)
    assert score.value == pytest.approx(1)
    assert asked == list(evaluation.raw.texts), "all of them, whatever their number"


def test_labels_are_scored_as_decisions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    logits = [np.array([row], np.float32) for row in ([2, 1], [0, 3], [5, 1], [1, 2])]
    served = [
        {"label": np.array([[label]], object), "score": np.ones((1, 1))} for label in (b"no", b"yes", b"no", b"no")
    ]
    serve(monkeypatch, served)
    evaluation = make_evaluation(tmp_path, "top1_agreement", logits, ("no", "yes"))
    score = verify._score_endpoint("http://x", "m", TEXTS, evaluation, Traffic())
    assert score is not None
    assert score.value == 0.75
    serve(monkeypatch, served)
    assert verify._score_endpoint("http://x", "m", TEXTS, replace(evaluation, metric="cosine"), Traffic()) is None


def test_load_is_made_of_the_best_data_there_is(tmp_path: Path) -> None:
    text = load_golden(write_text_package(tmp_path / "text") / "golden")
    traffic = RawSamples("traffic", texts=("from traffic",))
    evaluation = make_evaluation(tmp_path, "cosine", [np.ones((1, 2))])
    for given, expected in (
        ((evaluation, traffic), "from traffic"),
        ((evaluation, None), "text 0"),
        ((None, None), "a cat"),
    ):
        assert verify.load_requests(text, *given)[0]["text"][0, 0] == expected.encode()
    tensors = load_golden(write_tensor_package(tmp_path / "tensors") / "golden")
    assert verify.load_requests(tensors, None, traffic)[0]["x"].shape == (1, 4), "texts are no tensors"
    save_samples(tmp_path / "inputs.npz", [{"x": np.full((1, 4), 9.0)}])
    assert verify.load_requests(tensors, evaluation, traffic)[0]["x"][0, 0] == 9


@pytest.mark.parametrize(
    ("percentile", "rate_per_s", "requests", "seconds"),
    [(99.0, 0.0, 200, 30.0), (99.9, 0.0, 1000, 30.0), (99.0, 50.0, 200, 30.0), (99.9, 10.0, 1000, 150.0)],
)
def test_the_load_is_as_long_as_its_percentile_and_rate_ask(
    percentile: float, rate_per_s: float, requests: int, seconds: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: dict[str, object] = {}
    monkeypatch.setattr(verify, "run_load", lambda *arguments, **options: asked.update(options))
    verify._measure_load("http://x", "m", [], Workload(Traffic(1, rate_per_s), 2, percentile, 4))
    assert asked == {"batch": 2, "warm_instances": 4, "min_requests": requests, "max_seconds": seconds}


def test_a_server_is_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = write_tensor_package(tmp_path / "package")

    def none(cache: object) -> None:
        raise MissingError("there is no Triton server here")

    monkeypatch.setattr(verify, "require_server", none)
    with pytest.raises(MissingError):
        verify_package(package, "tiny", WORKLOAD, "fp32")
    with pytest.raises(UsageError, match="not the address of a Triton server"):
        verify_package(package, "tiny", WORKLOAD, "fp32", urls=("here:8000",))
    with pytest.raises(UsageError, match="load is measured over HTTP"):
        verify_package(package, "tiny", WORKLOAD, "fp32", urls=("grpc://here:8001",))
