from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from packc.candidate import PassStep
from packc.ingest.source import Geometry, SourceInfo, TextPreprocessing
from packc.passes import find_pass
from packc.runtimes.onnxruntime import RECIPES, OnnxRuntime
from packc.spec.model import Task
from packc.target import TargetKind
from sources import device, source_info

MINILM = Geometry(layers=6, heads=12, hidden=384, ffn=1536)


def offered_ids(info: SourceInfo) -> list[str]:
    target = device(native=("fp32", "bf16", "int8"))
    return [candidate.id for candidate in OnnxRuntime().candidates(info, target, target.native)[0]]


def test_a_transformer_gets_the_ladder_of_recipes() -> None:
    assert offered_ids(source_info("sentence-similarity", MINILM)) == [
        "onnxruntime-fp32",
        "onnxruntime-fp32-fused",
        "onnxruntime-fp32-packed",
        "onnxruntime-int8-dynamic",
        "onnxruntime-int8-dynamic-smooth",
        "onnxruntime-int8-dynamic-smooth-packed",
        "onnxruntime-int8-dynamic-ffn",
        "onnxruntime-int8-weights",
    ]


def test_padding_stays_where_each_token_has_an_answer() -> None:
    assert not any("packed" in name for name in offered_ids(source_info("token-classification", MINILM)))


def test_padding_on_the_left_stays() -> None:
    text = TextPreprocessing(Path("tokenizer.json"), 128, 0, ("input_ids", "attention_mask"), pads_left=True)
    info = source_info("sentence-similarity", MINILM)
    assert not any("packed" in name for name in offered_ids(replace(info, preprocessing=text)))


def test_a_text_model_of_unknown_widths_has_no_recipe_that_needs_them() -> None:
    ids = offered_ids(source_info("feature-extraction", None))
    assert "onnxruntime-int8-dynamic-ffn" not in ids
    assert "onnxruntime-fp32-fused" in ids


def test_a_convolutional_network_gets_fixed_ranges() -> None:
    assert offered_ids(source_info("image-classification", None)) == ["onnxruntime-fp32", "onnxruntime-int8-static"]


def test_an_unknown_graph_is_tried_both_ways() -> None:
    assert offered_ids(source_info("tensors", None)) == [
        "onnxruntime-fp32",
        "onnxruntime-int8-static",
        "onnxruntime-int8-dynamic",
    ]


def test_the_baseline_is_the_graph_as_exported() -> None:
    info = source_info("image-classification", MINILM)
    baseline = OnnxRuntime().candidates(info, device(), ("fp32",))[0][0]
    assert (baseline.id, baseline.passes) == ("onnxruntime-fp32", ())


def test_precisions_without_kernels_are_refused_with_the_reason() -> None:
    target = device(native=("fp32", "bf16", "fp16", "int8"))
    offered, refused = OnnxRuntime().candidates(source_info("tensors", None), target, ("bf16", "fp16"))
    assert offered == ()
    assert {rejection.what: rejection.reason for rejection in refused} == {
        "onnxruntime-bf16": "ONNX Runtime's CPU provider has no bf16 kernels (checked in 1.31)",
        "onnxruntime-fp16": "ONNX Runtime's CPU provider computes fp16 graphs in fp32 between casts:"
        " no faster (checked in 1.31)",
    }


def test_a_cpu_without_vnni_gets_weights_in_7_bits_and_the_reason() -> None:
    info, target = source_info("sentence-similarity", MINILM), device(isa=("fma", "avx2"))
    offered, refused = OnnxRuntime().candidates(info, target, target.native)
    assert {candidate.id for candidate in offered} - set(offered_ids(info)) == {"onnxruntime-int8-dynamic-smooth-u8"}
    steps = {candidate.id: str(candidate.passes[-1]) for candidate in offered if candidate.passes}
    assert steps["onnxruntime-fp32-fused"] == "shield_layer_norm"
    assert steps["onnxruntime-int8-dynamic"] == "quantize_dynamic[reduce_range=True]"
    assert steps["onnxruntime-int8-dynamic-ffn"] == "quantize_dynamic[exclude=ffn_down,unsigned=True]"
    assert steps["onnxruntime-int8-dynamic-smooth-u8"] == "quantize_dynamic[unsigned=True]"
    assert steps["onnxruntime-int8-weights"] == "quantize_weights[bits=8]"
    assert [(rejection.what, rejection.reason) for rejection in refused] == [
        (
            "onnxruntime-int8 with signed weights in 8 bits",
            "Box has no VNNI: its sums of products with them would be cut off at 16 bits, so weights have 7 bits"
            " (reduce_range) or, slower and closer, are unsigned",
        )
    ]
    assert OnnxRuntime().candidates(info, target, ("fp32",))[1] == ()


@pytest.mark.parametrize("kind", ["cuda", "jetson", "neuron"])
def test_other_kinds_of_devices_are_refused(kind: TargetKind) -> None:
    offered, refused = OnnxRuntime().candidates(source_info("tensors", None), device(kind), ("fp32",))
    assert offered == ()
    assert [rejection.what for rejection in refused] == ["onnxruntime"]
    assert f"is a {kind} device" in refused[0].reason


def test_every_step_of_every_recipe_exists_with_its_options() -> None:
    for recipe in RECIPES:
        for step in recipe.passes:
            assert set(step.options) <= set(find_pass(step.name).options)


@pytest.mark.parametrize("task", ["sentence-similarity", "image-classification", "tensors"])
def test_ids_are_unique_for_each_model(task: Task) -> None:
    for geometry in (None, MINILM):
        ids = offered_ids(source_info(task, geometry))
        assert len(set(ids)) == len(ids)


def test_the_default_of_other_tools_can_be_written() -> None:
    """int8 with one scale a tensor, nothing kept back: what the gate is there to refuse."""
    assert str(PassStep("quantize_dynamic", {"per_channel": False})) == "quantize_dynamic[per_channel=False]"
    assert "per_channel" in find_pass("quantize_dynamic").options


def test_configure_triton_takes_the_threads() -> None:
    model_config_pb2 = pytest.importorskip("tritonclient.grpc.model_config_pb2")
    config = model_config_pb2.ModelConfig(name="m")
    OnnxRuntime().configure_triton(config, {}, threads=3)
    assert config.backend == "onnxruntime"
    assert config.default_model_filename == "model.onnx"
    assert {key: value.string_value for key, value in config.parameters.items()} == {
        "intra_op_thread_count": "3",
        "inter_op_thread_count": "1",
    }


def test_the_engine_is_a_file_and_the_library_is_here() -> None:
    runtime = OnnxRuntime()
    assert isinstance(runtime.engine, Path)
    assert runtime.engine.is_file()
    assert set(runtime.versions()) == {"onnxruntime"}
    assert runtime.requirement.startswith(runtime.library)
