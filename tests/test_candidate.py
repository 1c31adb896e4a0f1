from __future__ import annotations

from packc.candidate import PassStep, Rejection, group_rejections


def test_a_step_is_written_with_its_options_in_order() -> None:
    assert str(PassStep("fuse_attention")) == "fuse_attention"
    step = PassStep("quantize", {"per_channel": True, "exclude": ("ffn_down", "head"), "bits": 8})
    assert str(step) == "quantize[bits=8,exclude=ffn_down+head,per_channel=True]"


def test_group_rejections_puts_what_has_one_reason_together() -> None:
    rejected = (Rejection("a", "slow"), Rejection("b", "large"), Rejection("c", "slow"))
    assert group_rejections(rejected) == (Rejection("a, c", "slow"), Rejection("b", "large"))
