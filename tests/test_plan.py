from __future__ import annotations

import pytest

from packc.candidate import Rejection
from packc.errors import TargetError
from packc.ingest.source import Geometry
from packc.plan import make_plan
from packc.spec.model import OptimizeSection
from sources import device, source_info

BERT = source_info("sentence-similarity", Geometry(layers=12, heads=12, hidden=768, ffn=3072))


def test_a_plan_takes_all_that_the_target_has() -> None:
    plan = make_plan(BERT, device(native=("fp32", "bf16", "int8")), OptimizeSection())
    assert {candidate.precision for candidate in plan.candidates} == {"fp32", "bf16", "int8"}
    assert {candidate.runtime for candidate in plan.candidates} == {"onnxruntime", "openvino"}
    assert plan.candidates[0].id == "onnxruntime-fp32"
    assert [rejection.what for rejection in plan.rejected] == ["tf32, fp16, fp8, int4", "onnxruntime-bf16"]
    assert plan.rejected[0].reason == "Box has no hardware for it"


def test_the_spec_narrows_the_precisions() -> None:
    plan = make_plan(BERT, device(), OptimizeSection(precisions=("int8",)))
    assert {candidate.precision for candidate in plan.candidates} == {"int8"}
    assert not any(rejection.what.startswith("onnxruntime") for rejection in plan.rejected)


def test_the_spec_narrows_the_runtimes() -> None:
    plan = make_plan(BERT, device(), OptimizeSection(runtimes=("openvino",)))
    assert {candidate.runtime for candidate in plan.candidates} == {"openvino"}


def test_a_precision_that_the_target_lacks_is_an_error() -> None:
    with pytest.raises(TargetError, match=r"\[optimize\] precisions: Box \(box\) has no bf16, fp8") as caught:
        make_plan(BERT, device(), OptimizeSection(precisions=("bf16", "fp32", "fp8")))
    assert caught.value.hint == "it has fp32, int8"
    assert caught.value.exit_code == 2


def test_a_target_without_a_runtime_has_no_candidates_but_a_reason() -> None:
    plan = make_plan(BERT, device("neuron", native=("bf16",)), OptimizeSection())
    assert plan.candidates == ()
    assert [rejection.what for rejection in plan.rejected[1:]] == ["onnxruntime", "openvino"]


def test_an_unsupported_target_says_why() -> None:
    plan = make_plan(BERT, device(unsupported="its toolchain ended in 2024"), OptimizeSection())
    assert (plan.candidates, plan.rejected) == ((), (Rejection("box", "its toolchain ended in 2024"),))


def test_a_plan_is_pure() -> None:
    assert make_plan(BERT, device(), OptimizeSection()) == make_plan(BERT, device(), OptimizeSection())
