from __future__ import annotations

import pytest

from packc.passes.sensitivity import LayerSensitivity, predict_errors, rank_layers


def layer(name: str, error: float, cost: float) -> LayerSensitivity:
    return LayerSensitivity(name, "other", None, error, cost)


def test_a_small_layer_comes_before_a_costly_one_of_the_same_error() -> None:
    layers = [layer("wide", 0.04, 0.4), layer("small", 0.04, 0.1), layer("calm", 0.001, 0.1), layer("worst", 0.1, 0.4)]
    assert [item.name for item in rank_layers(layers)] == ["worst", "small", "wide", "calm"]


def test_a_layer_that_never_ran_comes_last() -> None:
    assert [item.name for item in rank_layers([layer("idle", 0.0, 0.0), layer("busy", 0.01, 1.0)])] == ["busy", "idle"]


def test_errors_add_up_in_squares() -> None:
    assert predict_errors([layer("a", 0.4, 0.5), layer("b", 0.3, 0.5)]) == pytest.approx([0.5, 0.3, 0.0])
