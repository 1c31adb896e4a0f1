from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from packc.candidate import Rejection
from packc.errors import TargetError
from packc.ingest.source import Geometry, SourceInfo, TextPreprocessing
from packc.plan import explain_lacking, explain_unfit, make_plan
from packc.runtimes import aotinductor
from packc.runtimes.onnxruntime import OnnxRuntime
from packc.spec.optimize import DistillSection, OptimizeSection, RuntimeName
from packc.target import Target
from packc.tensors import Precision
from sources import device, source_info


@pytest.fixture(autouse=True)
def torch_can_compile(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aotinductor, "version", lambda package: "2.13.0")
    monkeypatch.setattr(aotinductor, "find_compiler", lambda: "/usr/bin/g++")


BERT = source_info("sentence-similarity", Geometry(layers=12, heads=12, hidden=768, ffn=3072))


def test_a_plan_takes_all_that_the_target_has() -> None:
    plan = make_plan(BERT, device(native=("fp32", "bf16", "int8"), isa=("avx512_bf16",)), OptimizeSection())
    assert {candidate.precision for candidate in plan.candidates} == {"fp32", "bf16", "int8"}
    assert {candidate.runtime for candidate in plan.candidates} == {"onnxruntime", "openvino"}
    assert plan.candidates[0].id == "onnxruntime-fp32"
    assert [rejection.what for rejection in plan.rejected] == [
        "tf32, fp16, fp8",
        "int4",
        "onnxruntime-bf16",
        "torch-fp32",
        "torch-bf16",
    ]
    assert plan.rejected[0].reason == "Box has no hardware for it"


def test_the_spec_narrows_the_precisions() -> None:
    plan = make_plan(BERT, device(), OptimizeSection(precisions=("int8",)))
    assert {candidate.precision for candidate in plan.candidates} == {"int8"}
    assert not any(rejection.what.startswith("onnxruntime") for rejection in plan.rejected)


def test_the_spec_narrows_the_runtimes() -> None:
    plan = make_plan(BERT, device(), OptimizeSection(runtimes=("openvino",)))
    assert {candidate.runtime for candidate in plan.candidates} == {"openvino"}


def test_some_candidates_wait_until_the_spec_names_their_runtime() -> None:
    unasked = make_plan(BERT, device(), OptimizeSection())
    assert "torch" not in {candidate.runtime for candidate in unasked.candidates}
    (why,) = [rejection.reason for rejection in unasked.rejected if rejection.what == "torch-fp32"]
    assert '[optimize] runtimes = ["torch"] tries it' in why
    asked = make_plan(BERT, device(), OptimizeSection(runtimes=("torch",)))
    assert [candidate.id for candidate in asked.candidates] == ["torch-fp32"]
    assert "torch-fp32" not in {rejection.what for rejection in asked.rejected}


def test_a_precision_that_the_target_lacks_is_an_error() -> None:
    with pytest.raises(TargetError, match=r"\[optimize\] precisions: Box \(box\) has no bf16, fp8") as caught:
        make_plan(BERT, device(), OptimizeSection(precisions=("bf16", "fp32", "fp8")))
    assert caught.value.hint == "pack has recipes for fp32, int8, int4 there"
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("optimize", [OptimizeSection(goal="size"), OptimizeSection(precisions=("int8", "int4"))])
def test_weights_in_4_bits_are_tried_where_size_is_the_goal_or_the_spec_says_so(optimize: OptimizeSection) -> None:
    plan = make_plan(BERT, device(), optimize, (OnnxRuntime(),))
    assert "onnxruntime-int4-weights" in {candidate.id for candidate in plan.candidates}
    assert not any("int4" in rejection.what for rejection in plan.rejected)
    other = make_plan(BERT, device(), OptimizeSection(), (OnnxRuntime(),))
    assert "int4" not in {candidate.precision for candidate in other.candidates}


def test_only_cpus_have_stored_precisions() -> None:
    with pytest.raises(TargetError, match="has no int4"):
        make_plan(BERT, device("neuron", native=("bf16",)), OptimizeSection(precisions=("int4",)))


def test_what_the_spec_does_not_ask_for_is_not_missed() -> None:
    plan = make_plan(BERT, device(), OptimizeSection(precisions=("fp32",)), (OnnxRuntime(),))
    assert plan.rejected == ()


def test_of_nvidia_gpus_int4_is_said_to_have_no_recipe() -> None:
    gpu = device("cuda", native=("fp32", "fp16", "int8"))
    lacking = {rejection.what: rejection.reason for rejection in make_plan(BERT, gpu, OptimizeSection(), ()).rejected}
    assert lacking == {"tf32, bf16, fp8": "Box has no hardware for it", "int4": "pack has no recipe for it"}
    with pytest.raises(TargetError, match=r"has no bf16; pack has no recipe for it \(int4 on Box\)"):
        make_plan(BERT, gpu, OptimizeSection(precisions=("bf16", "int4")))


@pytest.mark.parametrize(
    ("name", "target", "precisions", "reason"),
    [
        ("tensorrt", device(), None, "is for cuda and jetson devices, and Box is a cpu device"),
        ("torch-cuda", device(), None, "is for cuda devices, and Box is a cpu device"),
        ("onnxruntime-cuda", device("jetson", ("fp16",)), None, "is for cuda devices, and Box is a jetson device"),
        ("onnxruntime-tensorrt", device("jetson", ("fp16",)), None, "is for cuda devices, and Box is a jetson device"),
        (
            "onnxruntime-cuda",
            replace(device("cuda", ("fp16", "bf16")), is_here=False),
            ("bf16",),
            "pack has no recipe with it for this model in bf16",
        ),
    ],
)
def test_a_runtime_that_was_asked_for_is_never_left_out_without_a_word(
    name: RuntimeName, target: Target, precisions: tuple[Precision, ...] | None, reason: str
) -> None:
    vision = source_info("image-classification", None)
    plan = make_plan(vision, target, OptimizeSection(runtimes=(name,), precisions=precisions))
    assert plan.candidates == ()
    assert Rejection(name, reason) in plan.rejected
    unasked = make_plan(vision, target, OptimizeSection(precisions=precisions))
    assert name not in {rejection.what for rejection in unasked.rejected}


def test_precisions_that_a_named_runtime_lacks_are_rejected_by_name_once() -> None:
    optimize = OptimizeSection(runtimes=("torch", "onnxruntime"), precisions=("fp32", "int8", "int4"))
    plan = make_plan(BERT, device(), optimize)
    assert {(c.runtime, c.precision) for c in plan.candidates} == {
        ("torch", "fp32"),
        ("onnxruntime", "fp32"),
        ("onnxruntime", "int8"),
        ("onnxruntime", "int4"),
    }
    missing = "pack has no recipe with that runtime in that precision for this model"
    refused = [item for item in plan.rejected if item.what.startswith("torch")]
    assert [item.what for item in refused] == ["torch-int8", "torch-int4"]
    assert missing not in {item.reason for item in refused}, "the runtime itself says why"
    gpu = replace(device("cuda", ("fp16", "bf16", "int8")), is_here=False)
    optimize = OptimizeSection(runtimes=("onnxruntime-cuda",), precisions=("fp16", "bf16", "int8"))
    vision = make_plan(source_info("image-classification", None), gpu, optimize)
    assert {candidate.precision for candidate in vision.candidates} == {"fp16"}
    assert {item.what: item.reason for item in vision.rejected} == {
        "onnxruntime-cuda-int8": "pack has no recipe for it with ONNX Runtime's CUDA provider",
        "onnxruntime-cuda-bf16": missing,
    }


L4 = replace(device("cuda", ("fp32", "tf32", "bf16", "fp16", "fp8", "int8")), is_here=False, name="L4")


@pytest.mark.parametrize(
    ("optimize", "message", "hint"),
    [
        (
            OptimizeSection(precisions=("int4",)),
            "pack has no recipe for it (int4 on L4)",
            "pack has recipes for fp32, tf32, bf16, fp16, int8 there",
        ),
        (
            OptimizeSection(precisions=("fp16", "fp8")),
            "pack has no recipe for it (fp8 on L4)",
            "pack has recipes for fp32, tf32, bf16, fp16, int8 there",
        ),
        (
            OptimizeSection(precisions=("int8",), runtimes=("onnxruntime-cuda",)),
            "pack has no recipe for it with onnxruntime-cuda (int8 on L4)",
            "pack has recipes for fp32, tf32, bf16, fp16 there",
        ),
    ],
)
def test_what_nothing_on_a_target_can_do_is_told_with_what_something_can(
    optimize: OptimizeSection, message: str, hint: str
) -> None:
    assert explain_lacking(L4, optimize) == (message, hint)
    with pytest.raises(TargetError) as caught:
        make_plan(BERT, L4, optimize)
    assert (str(caught.value), caught.value.hint) == (f"[optimize] precisions: {message}", hint)


def test_one_precision_of_a_named_runtime_is_enough() -> None:
    assert explain_lacking(L4, OptimizeSection(precisions=("fp16", "int8"), runtimes=("onnxruntime-cuda",))) is None


def test_what_the_hint_names_has_candidates() -> None:
    for precision in ("fp32", "tf32", "bf16", "fp16", "int8"):
        assert make_plan(BERT, L4, OptimizeSection(precisions=(precision,))).candidates


@pytest.mark.parametrize(
    ("target", "runtimes", "message", "hint"),
    [
        (
            L4,
            ("onnxruntime",),
            "onnxruntime is for cpu devices, and L4 is a cuda device",
            'did you mean "onnxruntime-cuda", "onnxruntime-tensorrt" or "tensorrt"?',
        ),
        (
            L4,
            ("torch-cuda",),
            "torch-cuda compiles for the device that it runs on alone, and L4 is elsewhere",
            'did you mean "onnxruntime-cuda", "onnxruntime-tensorrt" or "tensorrt"?',
        ),
        (
            replace(device("jetson", ("fp16",)), is_here=False),
            ("onnxruntime-cuda",),
            "onnxruntime-cuda is for cuda devices, and Box is a jetson device",
            'did you mean "tensorrt"?',
        ),
        (
            device(),
            ("tensorrt", "torch-cuda"),
            "tensorrt is for cuda and jetson devices, and Box is a cpu device; "
            "torch-cuda is for cuda devices, and Box is a cpu device",
            'did you mean "onnxruntime", "openvino" or "torch"?',
        ),
    ],
)
def test_runtimes_of_which_none_fits_are_told_with_those_that_do(
    target: Target, runtimes: tuple[RuntimeName, ...], message: str, hint: str
) -> None:
    assert explain_unfit(target, OptimizeSection(runtimes=runtimes)) == (message, hint)


@pytest.mark.parametrize(
    ("target", "runtimes"),
    [
        (L4, ("onnxruntime", "tensorrt")),
        (L4, None),
        (replace(L4, id="host-gpu"), ("torch-cuda",)),
        (replace(L4, is_here=True), ("torch-cuda",)),
        (device("neuron", ("bf16",)), ("onnxruntime",)),
        (device(unsupported="its toolchain ended in 2024"), ("tensorrt",)),
    ],
    ids=["one", "unnamed", "absent", "here", "nothing", "unsupported"],
)
def test_where_one_fits_or_none_can_there_is_no_mistake(
    target: Target, runtimes: tuple[RuntimeName, ...] | None
) -> None:
    assert explain_unfit(target, OptimizeSection(runtimes=runtimes)) is None


def test_runtimes_for_other_devices_are_not_missed_where_the_spec_narrows() -> None:
    plan = make_plan(BERT, L4, OptimizeSection(precisions=("fp16",)))
    assert not {"onnxruntime", "openvino", "torch"} & {rejection.what for rejection in plan.rejected}
    assert "openvino" in {rejection.what for rejection in make_plan(BERT, L4, OptimizeSection()).rejected}


def test_what_was_not_asked_for_by_both_names_needs_no_reason() -> None:
    vision, gpu = source_info("image-classification", None), replace(device("cuda", ("fp16", "bf16")), is_here=False)
    named = (OptimizeSection(runtimes=("onnxruntime-cuda",)), OptimizeSection(precisions=("fp16", "bf16")))
    for optimize in (OptimizeSection(), *named):
        assert not any("bf16" in item.what for item in make_plan(vision, gpu, optimize).rejected)


def test_a_target_without_a_runtime_has_no_candidates_but_a_reason() -> None:
    plan = make_plan(BERT, device("neuron", native=("bf16",)), OptimizeSection())
    assert plan.candidates == ()
    assert [rejection.what for rejection in plan.rejected[1:]] == ["onnxruntime", "openvino", "torch"]


def test_an_unsupported_target_says_why() -> None:
    plan = make_plan(BERT, device(unsupported="its toolchain ended in 2024"), OptimizeSection())
    assert (plan.candidates, plan.rejected) == ((), (Rejection("box", "its toolchain ended in 2024"),))


def test_a_plan_is_pure() -> None:
    assert make_plan(BERT, device(), OptimizeSection()) == make_plan(BERT, device(), OptimizeSection())


def text_source(**changes: object) -> SourceInfo:
    text = TextPreprocessing(Path("tokenizer.json"), 128, 0, ("input_ids",))
    return replace(BERT, preprocessing=text, **changes)  # type: ignore[arg-type]


def test_a_student_is_tried_in_every_way_that_the_model_is() -> None:
    distill = DistillSection(layers=3)
    model = make_plan(text_source(), device(), OptimizeSection()).candidates
    plan = make_plan(text_source(), device(), OptimizeSection(distill=distill))
    assert plan.candidates[: len(model)] == model
    students = plan.candidates[len(model) :]
    assert [s.id for s in students] == [f"student3-{candidate.id}" for candidate in model]
    assert {s.source for s in students} == {"student"}
    assert [s.passes for s in students] == [candidate.passes for candidate in model]


@pytest.mark.parametrize(
    ("info", "reason"),
    [
        (text_source(origin="onnx"), "an .onnx file cannot be trained; give the checkpoint that it was exported from"),
        (text_source(geometry=None), "its number of layers is not known before it is loaded"),
        (BERT, "students are trained on text, and the model reads something else"),
        (
            text_source(geometry=Geometry(3, 12, 768, 3072)),
            "the model has 3 layers, so a student can have 2 at most",
        ),
    ],
)
def test_why_there_is_no_student(info: SourceInfo, reason: str) -> None:
    plan = make_plan(info, device(), OptimizeSection(distill=DistillSection(layers=3)))
    assert all(candidate.source == "model" for candidate in plan.candidates)
    assert plan.rejected[-1] == Rejection("student3", f"not distilled: {reason}")


def test_pruned_candidates_are_offered_when_the_spec_asks() -> None:
    names = {candidate.id for candidate in make_plan(BERT, device(), OptimizeSection()).candidates}
    plan = make_plan(BERT, device(), OptimizeSection(prune=0.25))
    added = [candidate for candidate in plan.candidates if candidate.id not in names]
    assert [candidate.id for candidate in added] == [
        "onnxruntime-fp32-fused-pruned",
        "onnxruntime-int8-dynamic-smooth-pruned",
    ]
    assert [str(step) for step in added[1].passes][5:7] == ["prune_structure[share=0.25]", "smooth_outliers"]


def test_models_and_runtimes_that_cannot_be_pruned_say_so() -> None:
    unknown = source_info("sentence-similarity", None)
    plan = make_plan(unknown, device(), OptimizeSection(prune=0.25))
    assert plan.rejected[-1].reason.startswith("only transformers whose heads and widths")
    elsewhere = make_plan(BERT, device(), OptimizeSection(prune=0.25, runtimes=("openvino",)))
    assert elsewhere.rejected[-1].reason == (
        "they are made of onnxruntime-fp32-fused and onnxruntime-int8-dynamic-smooth, and the plan has none of these"
    )
    gpu = replace(device("cuda", native=("fp32", "fp16")), is_here=False)
    assert make_plan(BERT, gpu, OptimizeSection(prune=0.25)).rejected[-1] == Rejection(
        "pruned candidates", "pack prunes candidates of ONNX Runtime on CPUs alone, and Box is a cuda device"
    )
