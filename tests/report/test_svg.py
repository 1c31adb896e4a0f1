from __future__ import annotations

from xml.etree import ElementTree

import pytest

from packc.report.svg import Scale, draw, fit_scale


def test_draw_escapes_and_names_attributes() -> None:
    text = draw("text", "a < b", x=1.25, stroke_width=2.0, class_='a"b', fill=None)
    assert text == '<text x="1.2" stroke-width="2" class="a&#34;b">a &lt; b</text>'
    assert ElementTree.fromstring(draw("g", text, draw("line", x1=0.0)))[1].attrib == {"x1": "0"}


def test_linear_scale_and_its_ticks() -> None:
    scale = Scale(0.0, 10.0, 100.0, 0.0)
    assert [scale(v) for v in (0, 5, 10)] == [100, 50, 0]
    assert scale.ticks(5) == (0, 2, 4, 6, 8, 10)
    assert Scale(0.853, 1.004, 0, 1).ticks(7) == (0.875, 0.9, 0.925, 0.95, 0.975, 1.0)


def test_logarithmic_scale_and_its_ticks() -> None:
    scale = Scale(1.0, 100.0, 0.0, 200.0, is_log=True)
    assert scale(10.0) == pytest.approx(100)
    assert scale.ticks(9) == pytest.approx((1, 2, 5, 10, 20, 50, 100))
    assert scale.ticks(3) == pytest.approx((1, 10, 100))


def test_a_wide_range_becomes_logarithmic_and_zero_never() -> None:
    assert fit_scale([1, 100], 0, 1).is_log
    assert not fit_scale([1, 7], 0, 1).is_log
    assert not fit_scale([0, 100], 0, 1).is_log
    assert not fit_scale([1, 100], 0, 1, log=False).is_log


@pytest.mark.parametrize("values", [[3.0], [0.0], [1.0, 1000.0], [0.2, 0.9], [-1.0, 1.0]])
def test_scale_holds_its_values_with_a_margin(values: list[float]) -> None:
    scale = fit_scale(values, 10.0, 110.0)
    assert all(10.0 < scale(value) < 110.0 for value in values)
    assert scale.ticks(5)
