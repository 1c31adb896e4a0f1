from __future__ import annotations

from packc.candidate import PassStep


def test_a_step_is_written_with_its_options_in_order() -> None:
    assert str(PassStep("fuse_attention")) == "fuse_attention"
    step = PassStep("quantize", {"per_channel": True, "exclude": ("ffn_down", "head"), "bits": 8})
    assert str(step) == "quantize[bits=8,exclude=ffn_down+head,per_channel=True]"
