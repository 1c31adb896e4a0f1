"""Recipes on graphs as the exporter writes them: everything fuses, and the answers stay."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from models import WORDS
from packc.cache import Cache
from packc.candidate import PassStep
from packc.ingest.ingest import Ingested, ingest_model
from packc.ingest.inspect import inspect_source
from packc.passes.lower import lower_graph
from packc.runtimes import onnxruntime_engine as engine
from packc.runtimes.onnxruntime import FUSED, SMOOTH
from packc.samples import RawSamples, load_samples
from packc.spec.model import ModelSection

pytestmark = pytest.mark.e2e

TEXTS = RawSamples("words", texts=tuple(" ".join(WORDS[i : i + 1 + i % 7]) for i in range(24)))


def ingest(folder: Path, samples: RawSamples, cache: Cache) -> Ingested:
    info = inspect_source(ModelSection(name="m", source=str(folder)))
    return ingest_model(info, samples, samples, cache)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Cache:
    return Cache(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def text_model(tiny_bert_dir: Path, cache: Cache) -> Ingested:
    return ingest(tiny_bert_dir, TEXTS, cache)


@pytest.fixture(scope="module")
def image_model(tiny_vit_dir: Path, digits_images_dir: Path, cache: Cache) -> Ingested:
    images = tuple(sorted(digits_images_dir.rglob("*.png"))[:16])
    return ingest(tiny_vit_dir, RawSamples("digits", images=images), cache)


def answer(model: Path, ingested: Ingested) -> np.ndarray:
    session = engine.load(str(model), {"exact_int8": True}, threads=1)
    name = ingested.source.answer
    return np.concatenate([engine.run(session, sample)[name] for sample in load_samples(ingested.inputs)])


def expect(ingested: Ingested) -> np.ndarray:
    return np.concatenate([sample[ingested.source.answer] for sample in load_samples(ingested.answers)])


@pytest.mark.parametrize("kind", ["text_model", "image_model"])
def test_every_fusion_happens_in_an_exported_transformer(
    kind: str, cache: Cache, request: pytest.FixtureRequest
) -> None:
    ingested: Ingested = request.getfixturevalue(kind)
    lowered = lower_graph(ingested.source, FUSED, ingested.calibration, cache)
    assert [warning for report in lowered.reports for warning in report.warnings] == []
    fused = {report.name: report.fused for report in lowered.reports}
    assert (fused["fuse_attention"], fused["fuse_gelu"], fused["fuse_layer_norm"]) == (2, 2, 5)
    assert fused["shield_layer_norm"] >= 4
    np.testing.assert_allclose(answer(lowered.model, ingested), expect(ingested), atol=1e-4)


def test_int8_recipes_stay_near_the_source(text_model: Ingested, cache: Cache) -> None:
    reference = expect(text_model)
    for steps in (
        (*FUSED, PassStep("quantize_dynamic")),
        (*FUSED, SMOOTH, PassStep("quantize_dynamic", {"exclude": "ffn_down"})),
        (*FUSED, SMOOTH, PassStep("quantize_static", {"exclude": "ffn_down"})),
    ):
        lowered = lower_graph(text_model.source, steps, text_model.calibration, cache)
        cosines = (answer(lowered.model, text_model) * reference).sum(axis=1)
        assert cosines.min() > 0.98, steps
        assert lowered.model.stat().st_size < text_model.source.graph.stat().st_size
