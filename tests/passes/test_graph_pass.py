from __future__ import annotations

from graphs import parse_graph
from packc.passes.graph_pass import PassReport, count_operators, report_fusion


def test_a_fusion_that_was_expected_and_did_not_happen_is_a_warning() -> None:
    assert report_fusion("fuse", "things", fused=6, before=0, expected=6) == PassReport("fuse", True, 6, 6)
    assert report_fusion("fuse", "things", fused=7, before=7, expected=6).warnings == ()
    missed = report_fusion("fuse", "things", fused=4, before=0, expected=6)
    assert missed.warnings == ("fuse: 4 of 6 things fused; the rest runs as separate operators",)


def test_only_operators_of_the_standard_domain_count() -> None:
    model = parse_graph("agraph (float[4] x) => (float[4] y) { a = Sqrt(x)\n b = Sqrt(a)\n y = Abs(b) }")
    next(iter(model.graph)).domain = "com.example"
    assert count_operators(model, "Sqrt") == 1
    assert count_operators(model, "Sqrt", "Abs") == 2
