from __future__ import annotations

from dataclasses import replace

import pytest

from manifests import (
    CHOSEN,
    make_allowed_manifest,
    make_crowded_manifest,
    make_halved_manifest,
    make_kept_manifest,
    make_missed_manifest,
    make_planned_manifest,
)
from packc.package.manifest import (
    MeasurementRecord,
    MissRecord,
    QualityRecord,
    RejectedRecord,
    VerdictRecord,
)
from packc.report.view import (
    STANDINGS,
    describe_basis,
    describe_count,
    describe_limit,
    describe_load,
    describe_outcome,
    describe_quality,
    describe_shape,
    describe_short,
    find_broken,
    find_chosen,
    list_left_out,
    list_missing,
    make_rows,
    worst_end,
)


def test_rows_come_best_standing_first_with_keys_in_order() -> None:
    rows = make_rows(make_kept_manifest())
    assert rows[0].record.id == CHOSEN
    assert rows[0].is_chosen
    assert not any(row.is_chosen for row in rows[1:])
    ranks = [STANDINGS.index(row.standing) for row in rows]
    assert ranks == sorted(ranks)
    assert [row.key for row in rows] == list("ABCDEFG")


def test_keys_go_on_after_z() -> None:
    rows = make_rows(make_crowded_manifest(28))
    assert [row.key for row in rows[24:]] == ["Y", "Z", "AA", "AB"]


def test_labels_drop_the_runtime_that_all_share() -> None:
    manifest = make_kept_manifest()
    assert make_rows(manifest)[1].label == "fp32-plain"
    other = replace(manifest.candidates[0], id="openvino-fp32", runtime="openvino")
    mixed = replace(manifest, candidates=(*manifest.candidates, other))
    assert make_rows(mixed)[1].label == "onnxruntime-fp32-plain"


@pytest.mark.parametrize(
    ("promise", "words"), [("latency_ms", "chosen, over budget"), ("quality", "chosen, below quality")]
)
def test_a_chosen_candidate_that_misses_says_so(promise: str, words: str) -> None:
    miss = VerdictRecord(False, CHOSEN, (), (MissRecord(CHOSEN, promise, 18.0, 15.0),))
    manifest = replace(make_kept_manifest(), verdict=miss)
    assert make_rows(manifest)[0].words == words
    assert find_broken(manifest) == {promise}


def test_every_missing_figure_has_its_reason() -> None:
    reasons = {row.record.id: row.why_missing for row in make_rows(make_kept_manifest())}
    assert "SIGSEGV" in reasons["onnxruntime-bf16-fused"]
    assert reasons["onnxruntime-int8-static"] == "not timed: the quality gate refused it first"
    assert {row.why_missing for row in make_rows(make_planned_manifest())} == {
        "not measured: the package is only planned"
    }


def test_what_only_the_device_can_judge_has_a_short_reason() -> None:
    """Several candidates then have one together; a runtime's message is in the manifest."""
    why = "not judged: the CPU of this machine cannot run it"
    planned = make_planned_manifest()
    records = tuple(replace(r, status="built", failure=f"{why}: no kernel for {r.id}") for r in planned.candidates)
    assert list_missing(make_rows(replace(planned, candidates=records))) == (("all", why),)


def test_what_was_judged_and_waits_for_its_device_is_not_timed() -> None:
    planned, why = make_planned_manifest(), "not judged: the CPU of this machine cannot run it: no kernel"
    judged = MeasurementRecord(None, None, None, None, None, None, QualityRecord("cosine", 0.99, 0.98, 1.0))
    first, second, *_ = planned.candidates
    records = (replace(first, status="built", failure=why), replace(second, status="built", measurements=judged))
    rows = make_rows(replace(planned, state="built", candidates=records))
    assert [(row.record.id, row.words, row.why_missing) for row in rows] == [
        (second.id, "not timed", "not timed: that is for the device"),
        (first.id, "not judged", "not judged: the CPU of this machine cannot run it"),
    ]


def test_outcome_in_one_line() -> None:
    assert describe_outcome(make_kept_manifest()) == f"{CHOSEN} keeps every promise"
    assert describe_outcome(make_allowed_manifest()) == f"{CHOSEN} was chosen although it misses a promise"
    assert describe_outcome(make_missed_manifest()) == "no candidate keeps every promise"
    assert describe_outcome(make_planned_manifest()) == "the promises could not be judged here"


def test_worst_end_is_the_upper_one_of_an_error() -> None:
    assert worst_end(QualityRecord("cosine", 0.5, 0.4, 0.6)) == 0.4
    assert worst_end(QualityRecord("max_error", 0.5, 0.4, 0.6)) == 0.6


def test_phrases() -> None:
    manifest = make_kept_manifest()
    assert manifest.served is not None
    assert find_chosen(make_missed_manifest()) is None
    assert describe_basis(make_rows(manifest)) == "one caller, batch 1, 32 tokens, 2 threads"
    assert describe_basis(make_rows(make_planned_manifest())) == ""
    assert describe_quality(QualityRecord("cosine", 0.93119, 0.9153, 1.0)) == "0.931 [0.915, 1.000]"
    assert describe_quality(None) == "–"
    assert (describe_shape(8, None), describe_shape(None, None)) == ("batch 8", "")
    assert (describe_count(1, "client"), describe_count(1200, "request")) == ("1 client", "1,200 requests")
    assert describe_load(manifest.served) == "8 clients"
    assert describe_load(replace(manifest.served, rate_per_s=20.0, batch=4)) == "20 requests/s, batch 4"


def test_the_limit_is_of_the_chosen_candidate_or_the_nearest_one() -> None:
    halved = make_halved_manifest()
    assert describe_limit(halved) == (
        f"0.57 of the physical limit ({CHOSEN}): floor 1.20 ms (estimated) at 570 GFLOP/s int8, measured here"
    )
    unchosen = replace(halved, verdict=replace(halved.verdict, chosen=None))
    assert describe_limit(unchosen).startswith("0.78 of the physical limit (onnxruntime-fp32-fused)")
    assert describe_limit(make_kept_manifest()) == ""


def test_a_limit_of_a_profile_says_which() -> None:
    halved = make_halved_manifest()
    assert halved.limits is not None
    stated = replace(halved, limits=replace(halved.limits, source="of the profile nvidia-h200-sxm"))
    assert describe_limit(stated).endswith(" ms (estimated) at 570 GFLOP/s int8, of the profile nvidia-h200-sxm")
    (first, *_) = halved.limits.candidates
    passed = replace(halved.limits, source="of the profile nvidia-h200-sxm", candidates=(replace(first, share=1.1),))
    assert describe_limit(replace(halved, limits=passed)).endswith("; beyond it, so the profile states too little")


def test_a_limit_that_was_passed_is_doubted() -> None:
    halved = make_halved_manifest()
    assert halved.limits is not None
    passed = replace(halved.limits.candidates[0], share=1.2, bound="memory", rate=20.0)
    doubtful = replace(halved, limits=replace(halved.limits, candidates=(passed,)))
    assert describe_limit(doubtful).endswith(
        "at 20.0 GB/s from memory in fp32, measured here; beyond it, so something else used the machine meanwhile"
    )


def test_a_short_timing_is_told_in_words() -> None:
    row = next(row for row in make_rows(make_halved_manifest()) if row.standing == "outpaced")
    assert row.why_missing == "others were ahead in a few calls: not timed for long"
    assert describe_short(row.record) == "p50 about 5.12 ms"


def test_what_was_left_out_for_one_reason_stands_together() -> None:
    rejected = (RejectedRecord("a", "too late"), RejectedRecord("b", "no kernels"), RejectedRecord("c", "too late"))
    manifest = replace(make_kept_manifest(), rejected=rejected)
    assert list_left_out(manifest) == (("a, c", "too late"), ("b", "no kernels"))
