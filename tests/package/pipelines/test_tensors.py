from __future__ import annotations

from pathlib import Path

import pytest

from goldens import check_golden
from package_parts import SERVING, StubRuntime, make_text_source, make_token_sample
from packc.package.model_config import print_config
from packc.package.pipelines.tensors import Ingredients, build_graph_model, build_tensor_models
from packc.serving import ServingPlan


def ingredients(folder: Path, serving: ServingPlan = SERVING, cache: bool = False) -> Ingredients:
    source = make_text_source(folder, "text-classification", ("cat", "two\nlines"))
    samples = [make_token_sample(list(range(2, 2 + n))) for n in (3, 4, 6)]
    return Ingredients("tiny", source, {"model.onnx": source.graph}, StubRuntime(), serving, samples, cache)


def test_config_and_labels(tmp_path: Path) -> None:
    (model,) = build_tensor_models(ingredients(tmp_path, cache=True))
    check_golden("package/tensors/tiny.pbtxt", print_config(model.config))
    assert model.files["labels.txt"] == "cat\ntwo lines\n"
    assert model.files["1/model.onnx"] == tmp_path / "model.onnx"


def test_member_has_neither_cache_nor_labels(tmp_path: Path) -> None:
    model = build_graph_model(ingredients(tmp_path, cache=True), "tiny-model")
    assert not model.config.response_cache.enable
    assert "labels.txt" not in model.files


@pytest.mark.parametrize(("instances", "helpers"), [(1, 1), (4, 1), (5, 2), (16, 4)])
def test_helpers_follow_instances(tmp_path: Path, instances: int, helpers: int) -> None:
    serving = ServingPlan(instances, 1, 4, 0, ())
    assert ingredients(tmp_path, serving).helpers == helpers
