"""What this machine can do at best: the fastest matrix product of each precision, and how fast memory is read."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from pydantic import TypeAdapter

from packc.cache import Cache, NotKept, cache_key
from packc.child import ask_child
from packc.ingest.fingerprint import hash_file
from packc.measure import peak_child
from packc.tensors import Precision

log = logging.getLogger(__name__)

WHAT = "measuring what this machine can do"
LIBRARIES = ("numpy", "onnxruntime", "openvino")


@dataclass(frozen=True, slots=True)
class GemmRate:
    """The best matrix product found in one precision."""

    precision: Precision
    gflop_per_s: float
    library: str
    """That reached it."""


@dataclass(frozen=True, slots=True)
class ReadRate:
    """How fast a buffer of one size is read, over and over."""

    mib: float
    gb_per_s: float


@dataclass(frozen=True, slots=True)
class Peaks:
    """The bounds of one device that no model passes."""

    gemm: tuple[GemmRate, ...]
    reads: tuple[ReadRate, ...]
    """The smallest buffer first; empty where nobody knows."""
    threads: int
    source: str
    """ "measured here", or "of the profile" that states them."""
    is_steady: bool = True
    """Whether repeated readings agreed; while other work comes and goes, they do not."""


@dataclass(frozen=True, slots=True)
class PeakRequest:
    """What the child looks for."""

    precisions: tuple[Precision, ...]
    threads: int


def measure_peaks(precisions: Sequence[Precision], threads: int, device: str, cache: Cache) -> Peaks:
    """The best rates of this machine with so many threads, found in a few seconds, and once they are steady, once.

    A precision that no installed library multiplies in is left out. Raises PackError when nothing could be measured.
    """
    request = PeakRequest(tuple(precisions), threads)
    adapter = TypeAdapter(Peaks)

    def make(folder: Path) -> None:
        limits = {name: str(threads) for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")}
        answer = ask_child("packc.measure.peak_child", TypeAdapter(PeakRequest).dump_json(request), WHAT, limits)
        peaks = adapter.validate_json(answer)
        if not peaks.is_steady:
            raise NotKept(peaks)
        (folder / "peaks.json").write_bytes(adapter.dump_json(peaks))

    key = cache_key(
        request=TypeAdapter(PeakRequest).dump_python(request, mode="json"),
        device=device,
        cpus=sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        libraries={name: _find_version(name) for name in LIBRARIES},
        code=hash_file(Path(peak_child.__file__)),
    )
    try:
        folder = cache.get_or_make("peak", key, make, reused="the best rates of this machine: measured before")
    except NotKept as passing:
        log.info(
            "the best rates of this machine vary, as when other work runs on it: the next build measures them again"
        )
        unsteady: Peaks = passing.result
        return unsteady
    return adapter.validate_json((folder / "peaks.json").read_bytes())


def _find_version(library: str) -> str | None:
    try:
        return version(library)
    except PackageNotFoundError:
        return None
