from __future__ import annotations

from typing import Any

import pytest

from packc.spec.groups import check_groups
from packc.toml.places import Loc

TARGETS = {"h200": {"profile": "nvidia-h200-sxm"}, "l4": {"profile": "nvidia-l4"}}


def check(combine: Any, targets: Any = TARGETS) -> list[tuple[Loc, str, str | None]]:
    found: list[tuple[Loc, str, str | None]] = []
    check_groups({"combine": combine, "targets": targets}, lambda *mistake: found.append(mistake))
    return found


def test_what_is_right_is_not_reported() -> None:
    assert check({"fleet": ("h200", "l4")}) == []


@pytest.mark.parametrize(
    ("group", "at", "message", "hint"),
    [
        (("h200", "l5"), 1, 'there is no target "l5"', "the spec has h200, l4"),
        (("h200", "L4"), 1, 'there is no target "L4"', 'did you mean "l4"?'),
        (
            ("nvidia-l4", "h200"),
            0,
            'there is no target "nvidia-l4"',
            'did you mean "l4", the target with that profile?',
        ),
        (("l4", "l4"), 1, '"l4" is in it twice', None),
    ],
)
def test_a_name_in_vain_is_pointed_at(group: tuple[str, ...], at: int, message: str, hint: str | None) -> None:
    assert check({"fleet": group}) == [(("combine", "fleet", at), f"[combine] fleet: {message}", hint)]


def test_a_group_is_of_two_and_has_a_name_of_its_own() -> None:
    assert check({"fleet": ("l4",), "h200": ("h200", "l4")}) == [
        (("combine", "fleet"), "[combine] fleet: it needs two targets or more", "the spec has h200, l4"),
        (
            ("combine", "h200"),
            '[combine] "h200" is the name of a target, whose folder it would take',
            "name it otherwise",
        ),
    ]


def test_every_mistake_is_told() -> None:
    assert [place for place, _, _ in check({"fleet": ("a", "b"), "other": ("l4", "c")})] == [
        ("combine", "fleet", 0),
        ("combine", "fleet", 1),
        ("combine", "other", 1),
    ]


@pytest.mark.parametrize("combine", [None, "l4", {"fleet": "l4"}, {"fleet": (1, 2)}])
def test_wrong_types_are_left_to_validation(combine: Any) -> None:
    assert check(combine) == []
    assert check({"fleet": ("h200", "l5")}, "cpu") == []
