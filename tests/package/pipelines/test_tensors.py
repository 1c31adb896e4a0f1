from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from goldens import check_golden
from package_parts import SERVING, StubRuntime, make_text_source, make_token_sample
from packc.package.model_config import print_config
from packc.package.pipelines.tensors import ENGINE_MODEL, Ingredients, build_graph_model, build_tensor_models
from packc.runtimes import aotinductor, aotinductor_cuda
from packc.runtimes.aotinductor import AotInductor
from packc.runtimes.aotinductor_cuda import AotInductorCuda
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


def test_a_runtime_without_a_backend_is_served_by_its_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aotinductor, "version", lambda package: "2.13.0")
    program = tmp_path / "model.pt2"
    parts = replace(ingredients(tmp_path), artifact={"model.pt2": program}, runtime=AotInductor())
    model = build_graph_model(parts, "tiny-model")
    check_golden("package/tensors/aotinductor.pbtxt", print_config(model.config))
    assert model.files["1/model.pt2"] == program
    assert (model.files["1/model.py"], model.files["1/engine.py"]) == (ENGINE_MODEL, AotInductor.engine)


def test_a_compiled_model_for_a_gpu_is_served_on_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aotinductor_cuda, "find_torch_build", lambda: aotinductor_cuda.TorchBuild("2.11.0", "13.0"))
    parts = replace(ingredients(tmp_path), artifact={"model.pt2": tmp_path / "model.pt2"}, runtime=AotInductorCuda())
    parts = replace(parts, engine_options={"graph": True})
    model = build_graph_model(parts, "tiny-model")
    check_golden("package/tensors/aotinductor_cuda.pbtxt", print_config(model.config))
    assert model.files["1/engine.py"] == AotInductorCuda.engine


@pytest.mark.parametrize(("instances", "helpers"), [(1, 1), (4, 1), (5, 2), (16, 4)])
def test_helpers_follow_instances(tmp_path: Path, instances: int, helpers: int) -> None:
    serving = ServingPlan(instances, 1, 4, 0, ())
    assert ingredients(tmp_path, serving).helpers == helpers
