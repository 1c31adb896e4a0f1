from __future__ import annotations

from dataclasses import replace

from manifests import make_kept_manifest, make_planned_manifest
from packc.package.manifest import LoadRecord
from packc.report.ways import describe_load_record, describe_tried, describe_tried_plan, list_tried


def test_a_plan_reads_as_the_search_names_it() -> None:
    rule, _, broken = list_tried(make_kept_manifest())
    assert describe_tried_plan(rule) == "2 instances of 1 thread, batches up to 8"
    assert describe_tried_plan(broken).endswith("batches up to 4, up to 400 us of waiting, in one process")


def test_a_plan_without_cuda_graphs_says_so() -> None:
    rule, *_ = list_tried(make_kept_manifest())
    assert describe_tried_plan(replace(rule, cuda_graphs=False)).endswith("batches up to 8, without CUDA graphs")


def test_predicted_and_served_stand_side_by_side_and_are_told_apart() -> None:
    rule, faster, broken = list_tried(make_kept_manifest())
    assert "fitted 701 samples/s" in describe_tried(rule, 99)
    assert "predicted" not in describe_tried(rule, 99)
    text = describe_tried(faster, 95)
    assert "predicted 842 samples/s, p50 6.40 ms, p95 9.20 ms; served 818 samples/s" in text
    assert describe_tried(broken, 99).endswith("failed: Triton did not start: out of memory")
    assert "served" not in describe_tried(replace(broken, failure=None), 99)


def test_figures() -> None:
    assert describe_load_record(LoadRecord(1234.0, 1.5, 20.0), 99) == "1,234 samples/s, p50 1.50 ms, p99 20.0 ms"


def test_without_a_search_there_is_nothing_to_list() -> None:
    assert list_tried(make_planned_manifest()) == ()
