from __future__ import annotations

import pytest

from packc.target import ISA_FLAGS, IsaFlag, derive_native
from sources import device


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


@pytest.mark.parametrize(
    ("isa", "saturates"),
    [
        ((), False),
        (("fma", "avx2"), True),
        (("avx2", "avx512f"), True),
        (("avx2", "avx_vnni"), False),
        (("avx2", "avx512f", "avx512_vnni"), False),
        (("avx2", "amx_tile", "amx_int8"), False),
        (("asimd",), False),
        (("asimd", "asimddp"), False),
    ],
)
def test_x86_without_vnni_saturates_int8_sums(isa: tuple[IsaFlag, ...], saturates: bool) -> None:
    assert device(isa=isa).saturates_int8 is saturates


@pytest.mark.parametrize(
    ("isa", "multiplies"), [(("avx512_bf16",), True), (("amx_tile", "amx_bf16"), True), (("asimd", "bf16"), False)]
)
def test_x86_flags_tell_whether_libraries_compute_in_bf16(isa: tuple[IsaFlag, ...], multiplies: bool) -> None:
    assert device(isa=isa).multiplies_bf16 is multiplies


def test_flags_are_listed_once() -> None:
    assert len(set(ISA_FLAGS)) == len(ISA_FLAGS)
