from __future__ import annotations

import itertools
from dataclasses import replace
from xml.etree import ElementTree

import pytest

import manifests
from packc.package.manifest import Manifest
from packc.report.labels import Box
from packc.report.tradeoff import LEGEND, _join_keys, draw_mark, draw_tradeoff
from packc.report.view import make_rows

KEPT = manifests.make_kept_manifest()
PLOTS = {
    "kept": KEPT,
    "missed": manifests.make_missed_manifest(),
    "allowed": manifests.make_allowed_manifest(),
    "imported": manifests.make_imported_manifest(),
    "error": manifests.make_error_manifest(),
    "crowded": manifests.make_crowded_manifest(),
    "one": replace(KEPT, candidates=KEPT.candidates[:1], served=None),
    "unbounded": replace(KEPT, promises=replace(KEPT.promises, latency_ms=None, quality_min=None)),
}


def draw_plot(manifest: Manifest, width: float = 940) -> ElementTree.Element:
    svg = draw_tradeoff(manifest, make_rows(manifest), width, 420 if width > 500 else 340, "plot")
    assert svg is not None
    return ElementTree.fromstring(svg)


def text_boxes(plot: ElementTree.Element) -> dict[str, Box]:
    """A generous box round each text, 12 px high type."""
    boxes = {}
    for text in plot.iter("text"):
        content = "".join(text.itertext())
        width = len(content) * (6.6 if "label" in text.get("class", "") else 6.2)
        share = {"middle": 0.5, "end": 1.0}.get(text.get("text-anchor", ""), 0.0)
        boxes[content] = Box(float(text.get("x", "")) - share * width, float(text.get("y", "")) - 10, width, 12)
    return boxes


@pytest.mark.parametrize("width", [940, 340])
@pytest.mark.parametrize("name", PLOTS)
def test_no_text_covers_another_or_leaves_the_plot(name: str, width: float) -> None:
    plot = draw_plot(PLOTS[name], width)
    boxes = text_boxes(plot)
    overlapping = [(a, b) for a, b in itertools.combinations(boxes, 2) if boxes[a].overlaps(boxes[b])]
    assert overlapping == []
    outside = Box(-1, -1, width + 2, float(plot.get("height", "")) + 2)
    assert [text for text, box in boxes.items() if not outside.holds(box)] == []


def test_bounds_and_names_are_written_out() -> None:
    texts = text_boxes(draw_plot(KEPT))
    for text in ("budget 15 ms", "at least 0.9", "int8-dynamic-skip-ffn-down", "served", "not timed", "below"):
        assert text in texts
    assert "int8-static 0.380" in texts
    assert "p99 latency of one caller (batch 1, 32 tokens), ms (log)" in texts


def test_a_narrow_or_crowded_plot_uses_the_keys_of_the_table() -> None:
    assert {"A", "B", "C", "D", "served"} <= set(text_boxes(draw_plot(KEPT, 340)))
    assert {"A", "X"} <= set(text_boxes(draw_plot(PLOTS["crowded"])))


def test_keys_of_one_place_share_a_label() -> None:
    order = [chr(ord("A") + i) for i in range(24)]
    assert _join_keys(["B"], order) == "B"
    assert _join_keys(["B", "C"], order) == "B, C"
    assert _join_keys(["B", "M", "N", "O", "S"], order) == "B, M-O, S"
    assert _join_keys(["served"], order) == "served"
    refused = next(record for record in KEPT.candidates if record.id == "onnxruntime-int8-static")
    many = replace(KEPT, candidates=(*KEPT.candidates, *(replace(refused, id=f"like-{i}") for i in range(13))))
    assert "F-S" in text_boxes(draw_plot(many))


def test_what_was_served_is_drawn_though_none_was_chosen() -> None:
    missed = PLOTS["missed"]
    served = replace(missed, served=KEPT.served)
    assert "served" not in text_boxes(draw_plot(missed))
    assert "served" in text_boxes(draw_plot(served))


def test_the_plot_says_in_words_what_it_shows() -> None:
    plot = draw_plot(KEPT)
    named = {element.get("id"): element.text for element in plot if element.get("id")}
    assert plot.get("role") == "img"
    assert set((plot.get("aria-labelledby") or "").split()) == set(named)
    assert named["plot-title"] == "Latency against quality of minilm for cpu"
    assert "4 measured candidates" in (named["plot-desc"] or "")
    titles = ["".join(title.itertext()) for title in plot.iter("title")]
    assert f"{manifests.CHOSEN}: chosen; 2.61 ms; neighbour_agreement 0.931 [0.915, 0.946]" in titles


def test_bounds_that_the_spec_does_not_set_are_not_drawn() -> None:
    drawn = {element.get("class") for element in draw_plot(PLOTS["unbounded"]).iter()}
    assert not {"bound", "zone", "caption"} & drawn


def test_without_a_latency_there_is_no_plot() -> None:
    planned = manifests.make_planned_manifest()
    assert draw_tradeoff(planned, make_rows(planned), 940, 420, "plot") is None
    untimed = replace(KEPT, candidates=(KEPT.candidates[3],), served=None)
    assert draw_tradeoff(untimed, make_rows(untimed), 940, 420, "plot") is None


def test_every_mark_has_a_shape_of_its_own() -> None:
    shapes = [draw_mark(mark).split("class")[0] for mark, _ in LEGEND if mark not in ("not timed", "not run")]
    assert len(set(shapes)) == len(shapes)
