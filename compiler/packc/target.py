"""Target profiles: what a device can do, as data. Shipped (`targets/*.toml`), the user's own, or probed ("host")."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from packc.tensors import PRECISIONS, Precision

TargetKind = Literal["cpu", "cuda", "jetson", "neuron"]

IsaFlag = Literal[
    "fma",
    "avx2",
    "avx_vnni",
    "avx512f",
    "avx512_vnni",
    "avx512_bf16",
    "avx512_fp16",
    "amx_tile",
    "amx_int8",
    "amx_bf16",
    "amx_fp16",
    "asimd",
    "asimdhp",
    "asimddp",
    "sve",
    "sve2",
    "i8mm",
    "bf16",
]
"""The flags of a CPU that matter to inference, as /proc/cpuinfo spells them: x86-64 up to amx_fp16, then Arm."""

ISA_FLAGS: tuple[IsaFlag, ...] = get_args(IsaFlag)

_NATIVE_BY_FLAG: tuple[tuple[Precision, frozenset[str]], ...] = (
    ("bf16", frozenset({"avx512_bf16", "amx_bf16", "bf16"})),
    ("fp16", frozenset({"avx512_fp16", "amx_fp16", "asimdhp"})),
    ("int8", frozenset({"avx2", "avx512_vnni", "asimddp", "i8mm"})),
)

_X86_BF16 = frozenset({"avx512_bf16", "amx_bf16"})

_NATIVE_FROM_CAPABILITY: tuple[tuple[Precision, tuple[int, int]], ...] = (
    ("fp32", (0, 0)),
    ("int8", (6, 1)),
    ("fp16", (7, 0)),
    ("tf32", (8, 0)),
    ("bf16", (8, 0)),
    ("fp8", (8, 9)),
)
"""NVIDIA GPUs: the compute capability from which on products are computed by hardware, at more than fp32's rate where
they are smaller (TensorRT's support matrix, "Hardware and precision"; int8 before 7.2 by the instruction DP4A)."""

_SUMS_IN_16_BITS = frozenset({"avx2", "avx512f"})
_SUMS_IN_32_BITS = frozenset({"avx_vnni", "avx512_vnni", "amx_int8"})


@dataclass(frozen=True, slots=True)
class Target:
    """One device. A figure that has no source is left out, never guessed."""

    id: str
    """"host", "host-gpu", the name of a shipped profile, or the stem of the user's file."""
    name: str
    kind: TargetKind
    arch: str
    isa: tuple[IsaFlag, ...]
    """Those that a CPU has; empty for other kinds."""
    compute_capability: str | None
    """CUDA compute capability, "8.7"; None for other kinds."""
    units: int
    """Cores (of one socket; of `host`, those that this process may use), SMs or NeuronCores."""
    memory_gb: float | None
    """In 10^9 bytes."""
    bandwidth_gb_s: float | None
    dense_peak_tflops: Mapping[Precision, float]
    """Peak of the whole device without sparsity, TFLOP/s (TOP/s for int8), for precisions with a sourced figure."""
    native: tuple[Precision, ...]
    """Precisions with hardware support."""
    instances: tuple[str, ...]
    """Where the device can be rented: "aws:c7a"."""
    notes: tuple[str, ...]
    """Sentences for the user."""
    unsupported: str | None
    """Why nothing can be compiled for it; None where it can."""
    sources: Mapping[str, str]
    """Figure -> where it comes from; empty for `host`."""
    is_here: bool
    """Whether this machine is the device, so that what is measured here is true of it."""
    driver_names: tuple[str, ...] = ()
    """What an NVIDIA GPU's driver calls it; empty where nobody knows."""
    warnings: tuple[str, ...] = ()
    """Those of the notes that a reader of what was measured on it must know."""
    profile: str | None = None
    """The shipped profile that peaks and bandwidth of `host-gpu` are of; None where it is none of them."""
    cache_mib: float | None = None
    """Of the cache between a GPU's memory and its SMs, as its driver tells; None elsewhere."""

    @property
    def session_threads(self) -> int:
        """CPU threads of a session that has the device alone: all cores of a CPU, one that feeds another device."""
        return self.units if self.kind == "cpu" else 1

    @property
    def multiplies_bf16(self) -> bool:
        """Whether it is an x86 CPU with products in bf16, for which libraries that pack uses have kernels."""
        return bool(_X86_BF16.intersection(self.isa))

    @property
    def saturates_int8(self) -> bool:
        """Whether sums of two 8-bit products may be cut off at 16 bits: x86 CPUs before VNNI, and only with 8-bit
        weights. Exact there are 7-bit ones."""
        return bool(_SUMS_IN_16_BITS.intersection(self.isa)) and not _SUMS_IN_32_BITS.intersection(self.isa)


def derive_native(isa: tuple[IsaFlag, ...]) -> tuple[Precision, ...]:
    """The precisions that a CPU with these flags computes in hardware; fp32 always."""
    found = {"fp32"} | {precision for precision, flags in _NATIVE_BY_FLAG if flags.intersection(isa)}
    return tuple(precision for precision in PRECISIONS if precision in found)


def derive_gpu_native(compute_capability: str) -> tuple[Precision, ...]:
    """The precisions that an NVIDIA GPU of this compute capability ("8.9") computes in hardware."""
    major, minor = (int(part) for part in compute_capability.split("."))
    found = {precision for precision, first in _NATIVE_FROM_CAPABILITY if (major, minor) >= first}
    return tuple(precision for precision in PRECISIONS if precision in found)
