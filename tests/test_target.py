from __future__ import annotations

import pytest

from packc.target import ISA_FLAGS, IsaFlag, derive_native


@pytest.mark.parametrize(
    ("isa", "native"),
    [
        ((), ("fp32",)),
        (("fma", "avx2"), ("fp32", "int8")),
        (("avx512f", "avx512_vnni"), ("fp32", "int8")),
        (("avx2", "avx512_bf16"), ("fp32", "bf16", "int8")),
        (("amx_bf16",), ("fp32", "bf16")),
        (("avx2", "avx512_fp16"), ("fp32", "fp16", "int8")),
        (("asimd", "asimdhp", "asimddp"), ("fp32", "fp16", "int8")),
        (("asimd", "asimddp", "bf16", "i8mm"), ("fp32", "bf16", "int8")),
    ],
)
def test_native_precisions_follow_from_the_flags(isa: tuple[IsaFlag, ...], native: tuple[str, ...]) -> None:
    assert derive_native(isa) == native


def test_flags_are_listed_once() -> None:
    assert len(set(ISA_FLAGS)) == len(ISA_FLAGS)
