from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from goldens import check_golden
from packc.ingest.source import Geometry, SourceModel, TextPreprocessing
from packc.package.model_config import add_instances, new_config, print_config
from packc.passes import PASSES, find_pass
from packc.runtimes import find_runtime, onnxruntime_cuda
from packc.runtimes.onnxruntime_cuda import RECIPES, OnnxRuntimeCuda
from packc.runtimes.onnxruntime_tensorrt import OnnxRuntimeTensorRt
from packc.server.libraries import KNOWN
from packc.spec.model import Task
from packc.tensors import Precision
from sources import device, source_info

BERT = source_info("sentence-similarity", Geometry(layers=12, heads=12, hidden=768, ffn=3072))
RESNET = source_info("image-classification", None)
GPU: tuple[Precision, ...] = ("fp32", "tf32", "bf16", "fp16", "fp8", "int8")


@pytest.fixture(autouse=True)
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a machine that has onnxruntime-gpu."""
    monkeypatch.setattr(onnxruntime_cuda, "version", lambda name: "1.26.0")


def test_a_gpu_that_is_here_needs_its_onnxruntime(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = device("cuda", GPU)
    monkeypatch.setattr(OnnxRuntimeCuda, "versions", lambda self: {})
    offered, (refused,) = OnnxRuntimeCuda().candidates(BERT, gpu, GPU)
    assert (offered, refused.reason.partition(":")[0]) == ((), "onnxruntime-gpu is not installed")
    assert OnnxRuntimeCuda().candidates(BERT, replace(gpu, is_here=False), GPU)[0]


def test_baseline_comes_first_and_is_the_exported_graph_under_onnxruntimes_own_options() -> None:
    for info in (BERT, RESNET):
        offered, _ = OnnxRuntimeCuda().candidates(info, device("cuda", GPU), GPU)
        assert (offered[0].id, offered[0].passes, offered[0].session) == ("onnxruntime-cuda-tf32", (), {"tf32": True})


def test_without_tf32_in_the_gpu_the_baseline_is_fp32() -> None:
    offered, _ = OnnxRuntimeCuda().candidates(BERT, device("cuda", ("fp32", "fp16")), ("fp32", "fp16"))
    assert (offered[0].id, offered[0].passes, offered[0].session) == ("onnxruntime-cuda-fp32", (), {})


@pytest.mark.parametrize(("task", "fused"), [("sentence-similarity", True), ("image-classification", False)])
def test_half_precision_records_a_graph(task: Task, fused: bool) -> None:
    info = BERT if fused else RESNET
    offered, _ = OnnxRuntimeCuda().candidates(info, device("cuda", GPU), ("fp16",))
    assert offered
    assert all(candidate.session["graph"] for candidate in offered)
    assert all(candidate.passes[-1].name == "cast_fp16" for candidate in offered)
    assert any(step.name == "merge_attention" for step in offered[0].passes) == fused


def test_channels_last_are_for_convolutions() -> None:
    offered, _ = OnnxRuntimeCuda().candidates(RESNET, device("cuda", GPU), GPU)
    dense = SourceModel(RESNET, Path("model.onnx"), (), (), "y", 0.0, "", has_convolutions=False)
    pointless = [c.id for c in offered if OnnxRuntimeCuda().explain_pointless(c, dense)]
    assert pointless == ["onnxruntime-cuda-tf32-nhwc", "onnxruntime-cuda-fp16-nhwc"]
    convolutional = replace(dense, has_convolutions=True)
    assert not any(OnnxRuntimeCuda().explain_pointless(c, convolutional) for c in offered)


def test_tokenizers_that_pad_left_keep_their_masks() -> None:
    text = TextPreprocessing(Path("tokenizer.json"), 128, 0, ("input_ids", "attention_mask"), pads_left=True)
    left = replace(BERT, preprocessing=text)
    offered, refused = OnnxRuntimeCuda().candidates(left, device("cuda", GPU), GPU)
    steps = [step for candidate in offered for step in candidate.passes if step.name == "merge_attention"]
    assert steps
    assert all(step.options == {"mask": "bias"} for step in steps)
    assert [r.what for r in refused if "pads on the left" in r.reason] == ["onnxruntime-cuda-fp16-fused-starts"]
    right = replace(BERT, preprocessing=replace(text, pads_left=False))
    assert OnnxRuntimeCuda().candidates(right, device("cuda", GPU), GPU) == OnnxRuntimeCuda().candidates(
        BERT, device("cuda", GPU), GPU
    )


def test_ids_are_unique_within_a_plan() -> None:
    for info in (BERT, RESNET):
        ids = [candidate.id for candidate in OnnxRuntimeCuda().candidates(info, device("cuda", GPU), GPU)[0]]
        assert len(ids) == len(set(ids))


def test_recipes_keep_the_order_of_the_passes() -> None:
    order = [graph_pass.name for graph_pass in PASSES]
    for recipe in RECIPES:
        places = [order.index(step.name) for step in recipe.passes]
        assert places == sorted(places)
        assert all(set(step.options) <= set(find_pass(step.name).options) for step in recipe.passes)


def test_other_targets_hear_nothing_of_it() -> None:
    assert OnnxRuntimeCuda().candidates(BERT, device("cpu"), ("fp32",)) == ((), ())


def test_precisions_without_recipe_are_refused_with_a_reason() -> None:
    _, refused = OnnxRuntimeCuda().candidates(BERT, device("cuda", GPU), GPU)
    assert [rejection.what for rejection in refused] == ["onnxruntime-cuda-fp8", "onnxruntime-cuda-int8"]


def test_configuration_names_the_provider_options() -> None:
    runtime = find_runtime("onnxruntime-cuda")
    config = new_config("m", 8)
    add_instances(config, 1, runtime.device)
    runtime.configure_triton(config, {"tf32": True, "graph": True}, threads=1)
    check_golden("runtimes/onnxruntime_cuda.pbtxt", print_config(config))


def test_the_server_gets_the_version_that_was_measured() -> None:
    runtime = OnnxRuntimeCuda()
    assert runtime.server_requirement == "onnxruntime-gpu[cuda,cudnn]==1.26.0"
    assert KNOWN.fullmatch(runtime.server_requirement)


@pytest.mark.parametrize("runtime", [OnnxRuntimeCuda(), OnnxRuntimeTensorRt()])
def test_the_version_of_a_device_elsewhere_goes_before_what_is_here(
    runtime: OnnxRuntimeCuda, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = runtime.as_measured({"python": "3.12.3", "onnxruntime-gpu": "1.31.1"})
    assert (type(elsewhere), elsewhere.name) == (type(runtime), runtime.name)
    assert elsewhere.server_requirement == "onnxruntime-gpu[cuda,cudnn]==1.31.1"
    monkeypatch.setattr(OnnxRuntimeCuda, "versions", lambda self: {})
    assert elsewhere.server_requirement == "onnxruntime-gpu[cuda,cudnn]==1.31.1"
    assert runtime.server_requirement == runtime.requirement, "nothing was measured, nothing is here"
