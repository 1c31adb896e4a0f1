"""A text package of one process through a real Triton: many clients, mixed lengths, the answers of the graph alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from package_parts import (
    CANDIDATE,
    SERVING,
    VOCABULARY,
    StubRuntime,
    make_target_spec,
    make_text_golden,
    make_text_source,
    make_token_sample,
    run_graph,
)
from packc.cache import Cache
from packc.data.read import read_samples
from packc.ingest.ingest import ingest_model
from packc.ingest.inspect import inspect_source
from packc.package.golden import GoldenSet
from packc.package.lint import lint_repository
from packc.package.write import write_package
from packc.passes.lower import lower_graph
from packc.runtimes.onnxruntime import PACKED
from packc.samples import load_samples
from packc.server.client import RequestFailed, connect
from packc.server.environment import Server
from packc.server.load import Traffic, ask_all
from packc.server.process import start_server
from packc.server.verify import Workload, verify_package
from packc.serving.plan import Lengths, ServingPlan
from packc.spec.model import ModelSection

pytestmark = pytest.mark.e2e

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "minilm"
WORDS = VOCABULARY[4:9]


def make_texts(count: int) -> list[str]:
    generator = np.random.default_rng(0)
    return [" ".join(generator.choice(WORDS, size)) for size in generator.integers(1, 5, count)]


def write(folder: Path, lengths: Lengths) -> Path:
    source = make_text_source(folder / "source")
    package = folder / "package"
    package.mkdir()
    write_package(
        package,
        spec=make_target_spec(),
        source=source,
        model=source.graph,
        candidate=CANDIDATE,
        runtime=StubRuntime(),
        serving=replace(SERVING, front="in_process", lengths=lengths, instances=2, threads=1),
        warmup=[make_token_sample([2, 4, 3]), make_token_sample([2, 4, 5, 3])],
        golden=make_text_golden(source, {"red": [2, 4, 3], "red green": [2, 4, 5, 3]}),
        versions={},
    )
    return package


@pytest.mark.parametrize("lengths", ["pad", "sorted", "single"])
def test_answers_do_not_depend_on_who_else_asks(lengths: Lengths, triton_server: Server, tmp_path: Path) -> None:
    package = write(tmp_path, lengths)
    source, texts = make_text_source(tmp_path / "source"), make_texts(200)
    assert lint_repository(package / "model_repository") == []
    requests = [{"text": np.array([[text.encode()]], dtype=object)} for text in texts]
    with start_server(triton_server, package / "model_repository") as server:
        answers = ask_all(server.http_url, "tiny", requests, Traffic(8))
        with connect(server.grpc_url) as client:
            both = client.infer("tiny", {"text": np.array([[b"red"], [b"red green blue"]], dtype=object)})
            with pytest.raises(RequestFailed, match="not valid UTF-8"):
                client.infer("tiny", {"text": np.array([[b"\xff"]], dtype=object)})
    expected = {
        text: run_graph(source, make_token_sample([2, *map(VOCABULARY.index, text.split()), 3]))[source.answer]
        for text in {*texts, "red", "red green blue"}
    }
    for text, answer in zip(texts, answers, strict=True):
        np.testing.assert_allclose(answer["embedding"], expected[text], atol=1e-6)
    wanted = np.concatenate([expected["red"], expected["red green blue"]])
    np.testing.assert_allclose(both["embedding"], wanted, atol=1e-6)


def test_it_verifies(triton_server: Server, tmp_path: Path) -> None:
    verified = verify_package(write(tmp_path, "pad"), "tiny", Workload(Traffic(8), 1, 99.0), "fp32")
    assert verified.record.golden_max_error < 1e-6
    assert verified.record.samples >= 200


def test_a_real_encoder_without_padding(triton_server: Server, minilm_dir: Path, tmp_path: Path) -> None:
    """all-MiniLM-L6-v2, packed, under mixed lengths: what it answers together is what it answers alone."""
    info = inspect_source(ModelSection(name="minilm", source=str(minilm_dir)))
    samples = read_samples(EXAMPLE / "eval.jsonl", info)
    cache = Cache()
    ingested = ingest_model(info, samples, samples, cache)
    lowered = lower_graph(ingested.source, PACKED, ingested.calibration, cache)
    assert [warning for report in lowered.reports for warning in report.warnings] == []
    inputs = load_samples(ingested.inputs)
    expected = [answer[ingested.source.answer] for answer in load_samples(ingested.answers)]
    served = [{"embedding": answer} for answer in expected[:4]]
    package = tmp_path / "package"
    package.mkdir()
    write_package(
        package,
        spec=make_target_spec(name="minilm"),
        source=ingested.source,
        model=lowered.model,
        candidate=CANDIDATE,
        runtime=StubRuntime(),
        serving=ServingPlan(2, 1, 8, 1000, (), front="in_process"),
        warmup=inputs[:8],
        golden=GoldenSet("text", served, served, texts=samples.texts[:4]),
        versions={},
    )
    requests = [{"text": np.array([[text.encode()]], dtype=object)} for text in samples.texts]
    with start_server(triton_server, package / "model_repository") as server:
        answers = ask_all(server.http_url, "minilm", requests, Traffic(8))
    together = np.concatenate([answer["embedding"] for answer in answers])
    np.testing.assert_allclose(together, np.concatenate(expected), atol=1e-5)
