from __future__ import annotations

from dataclasses import replace

import pytest

from manifests import (
    CHOSEN,
    make_allowed_manifest,
    make_error_manifest,
    make_gpu_manifest,
    make_kept_manifest,
    make_missed_manifest,
)
from packc.package.manifest import MissRecord, QualityRecord, VerdictRecord
from packc.report.tiles import UNSERVED, describe_quality_bound, make_tiles


def test_budget_is_shown_with_the_served_figure() -> None:
    latency, throughput, size, memory, quality = make_tiles(make_kept_manifest())
    assert (latency.title, latency.number, latency.unit) == ("Latency, p99", "9.83", "ms")
    assert (latency.word, latency.promise) == ("met", "at most 15 ms")
    assert latency.basis == "served over HTTP to 8 clients"
    assert (throughput.number, throughput.word) == ("812", "no bound")
    assert (size.number, memory.number) == ("31.8", "242")
    assert (quality.number, quality.word, quality.promise) == ("0.915", "met", "at least 0.9")
    assert quality.basis == "worst end of the 95 % interval around 0.931"


def test_memory_is_the_gpu_s_where_there_is_one_and_of_all_instances() -> None:
    manifest = make_gpu_manifest(device_memory_mib=206.0)
    manifest = replace(manifest, promises=replace(manifest.promises, memory_mib=1000.0))
    assert manifest.serving is not None
    one = make_tiles(replace(manifest, serving=replace(manifest.serving, instances=1)))[3]
    two = make_tiles(replace(manifest, serving=replace(manifest.serving, instances=2)))[3]
    assert (one.title, one.number, one.basis) == ("GPU memory", "206", "what one instance took")
    assert (two.number, two.basis) == ("412", "2 instances, each by the 206 MiB that one took alone")
    assert two.share == 0.412


def test_without_a_server_latency_is_that_of_one_caller() -> None:
    manifest = replace(make_kept_manifest(), served=None)
    assert (make_tiles(manifest)[0].number, make_tiles(manifest)[0].basis) == ("2.61", UNSERVED)
    at_p95 = replace(manifest, promises=replace(manifest.promises, percentile=95.0))
    assert (make_tiles(at_p95)[0].number, make_tiles(at_p95)[0].basis) == ("–", "not measured")


def test_the_verdict_says_which_promise_is_missed() -> None:
    latency, *_, quality = make_tiles(make_allowed_manifest())
    assert (latency.word, latency.number, quality.word) == ("missed", "18.0", "met")


def test_without_a_choice_only_the_bounds_are_known() -> None:
    tiles = make_tiles(make_missed_manifest())
    assert {tile.number for tile in tiles} == {"–"}
    assert {tile.basis for tile in tiles} == {"no candidate was chosen"}
    assert [tile.word for tile in tiles] == ["asked", "no bound", "asked", "no bound", "asked"]
    assert all(tile.kept is None and tile.share is None for tile in tiles)


def test_a_throughput_that_is_met_at_a_larger_shape_says_so() -> None:
    manifest = make_kept_manifest()
    manifest = replace(manifest, served=None, promises=replace(manifest.promises, throughput_per_s=600.0))
    throughput = make_tiles(manifest)[1]
    assert (throughput.word, throughput.number) == ("met", "472")
    assert "another shape" in throughput.basis


def test_a_bound_on_the_drop_is_shown_with_the_drop() -> None:
    manifest = make_kept_manifest()
    quality = QualityRecord("accuracy", 0.941, 0.92, 0.955, samples=500, reference=0.95, worst_drop=0.016)
    promises = replace(manifest.promises, quality_min=None, quality_max_drop=0.02, quality_metric="accuracy")
    assert manifest.served is not None
    manifest = replace(manifest, promises=promises, served=replace(manifest.served, quality=quality))
    tile = make_tiles(manifest)[-1]
    assert tile.title == "Quality, accuracy lost"
    assert tile.promise == "at most 0.02 worse than the source model"
    assert (tile.number, tile.word) == ("0.016", "met")
    assert tile.share == pytest.approx(0.8)
    assert "0.941, the source model's 0.950" in tile.basis
    miss = VerdictRecord(False, CHOSEN, (), (MissRecord(CHOSEN, "quality", 0.9, 0.95),))
    assert make_tiles(replace(manifest, verdict=miss))[-1].word == "missed"


def test_without_a_bound_the_value_is_shown() -> None:
    manifest = make_kept_manifest()
    tile = make_tiles(replace(manifest, promises=replace(manifest.promises, quality_min=None)))[-1]
    assert (tile.number, tile.word, tile.share) == ("0.931", "no bound", None)
    assert tile.basis == "95 % interval 0.915 to 0.946"


def test_quality_bound_in_words() -> None:
    assert describe_quality_bound(make_error_manifest().promises) == "at most 0.01"
    assert describe_quality_bound(replace(make_kept_manifest().promises, quality_min=None)) == ""
