"""Which artifact a server takes, and what a combined package lacks."""

from __future__ import annotations

from dataclasses import replace

from packc.package.combined_ways import describe_missed, find_unflagged, list_faults, say_ways
from packc.package.manifest import CombinedRecord

L4 = CombinedRecord("l4", "nvidia-l4", "8.9", "measured", "tf32", "tf32", "model.onnx", "default")
T4 = CombinedRecord("t4", "nvidia-t4", "7.5", "built", "fp16", "fp16", "model.t4.onnx", "config name")
L40S = replace(L4, target="l40s", file="model.l40s.onnx", chosen_by="config name")
H200 = replace(L4, target="h200", compute_capability="9.0", file="model.h200.onnx", chosen_by="compute capability")
H100 = replace(H200, target="h100", file="model.h100.onnx", chosen_by="config name")
ABSENT = CombinedRecord("a10", "nvidia-a10g", "8.6", "planned", None, None, None, "", remark="there is no build of it")


def test_without_the_flag_a_server_takes_its_capabilitys_artifact_or_the_bases() -> None:
    records = (L4, T4, H200, H100, L40S, ABSENT)
    assert [find_unflagged(record, records).target for record in (T4, H100, L40S)] == ["l4", "h200", "l4"]


def test_targets_that_need_the_flag_are_told_with_what_they_get_without_it() -> None:
    plain, t4, h100 = say_ways((L4, T4, H200, H100, ABSENT))
    assert plain == "A server takes the artifact of its GPU by itself for `l4`, `h200`."
    assert t4 == (
        "For `t4` it needs the flag `--model-config-name=t4`: without it, a server there takes the artifact of `l4`, "
        "and no error says so."
    )
    assert "takes the artifact of `h200`" in h100


def test_what_is_compiled_for_one_gpu_may_refuse_another() -> None:
    engine = replace(L4, file="model.plan")
    assert say_ways((engine, replace(T4, file="model.t4.plan")))[1].endswith(
        "takes the artifact of `l4`, which may refuse to load on that GPU."
    )


def test_promises_that_a_target_misses_are_told_by_their_side() -> None:
    assert describe_missed(L4) == ""
    assert describe_missed(replace(L4, missed=("latency_ms", "size_mib"))) == "misses its budget (latency_ms, size_mib)"
    assert describe_missed(replace(L4, missed=("quality",))) == "misses its quality bound (quality)"


def test_one_artifact_alone_and_missed_promises_are_faults() -> None:
    assert list_faults((L4, T4, ABSENT)) == []
    assert list_faults(()) == []
    missing = replace(L4, missed=("latency_ms",))
    assert list_faults((missing, ABSENT)) == [
        "the package has the artifact of l4 alone (a10: there is no build of it)",
        "l4 misses its budget (latency_ms)",
    ]
