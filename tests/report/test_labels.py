from __future__ import annotations

import itertools

import pytest

from packc.report.labels import Anchor, Box, place_labels

AREA = Box(0, 0, 400, 300)


def anchor(x: float, y: float, width: float = 80, area: Box = AREA) -> Anchor:
    return Anchor(x, y, 7, width, 15, area)


def test_a_lone_label_stands_right_of_its_point() -> None:
    (placement,) = place_labels([anchor(100, 100)], []) or ()
    assert placement.box == Box(111, 92.5, 80, 15)
    assert not placement.is_far


def test_at_the_right_edge_it_goes_to_the_left() -> None:
    placed = place_labels([anchor(390, 100)], [])
    assert placed is not None
    assert placed[0].box.x + placed[0].box.width < 390


def test_crowded_labels_cover_neither_each_other_nor_an_obstacle() -> None:
    anchors = [anchor(150 + 12 * i, 150 + 9 * i) for i in range(8)]
    points = [Box(a.x - 7, a.y - 7, 14, 14) for a in anchors]
    placed = place_labels(anchors, points)
    assert placed is not None
    boxes = [placement.box for placement in placed]
    assert not any(a.overlaps(b) for a, b in itertools.combinations(boxes, 2))
    assert not any(box.overlaps(point) for box in boxes for point in points)
    assert all(AREA.holds(box) for box in boxes)


def test_a_label_far_from_its_point_is_tied_to_it() -> None:
    wall = Box(60, 60, 200, 70)
    placed = place_labels([anchor(100, 100, width=20)], [wall])
    assert placed is not None
    assert placed[0].is_far


def test_without_room_for_all_there_is_no_placement() -> None:
    assert place_labels([anchor(10, 10, width=500)], []) is None
    small = Box(0, 0, 100, 40)
    assert place_labels([anchor(50, 20, area=small) for _ in range(4)], []) is None


@pytest.mark.parametrize(
    ("other", "overlaps"),
    [(Box(10, 0, 5, 5), False), (Box(9, 9, 5, 5), True), (Box(2, 2, 2, 2), True), (Box(0, 10, 10, 1), False)],
)
def test_boxes_that_only_touch_do_not_overlap(other: Box, overlaps: bool) -> None:
    assert Box(0, 0, 10, 10).overlaps(other) == overlaps
    assert other.overlaps(Box(0, 0, 10, 10)) == overlaps
