"""Measures, in a child process, what int8 costs in each linear layer of a lowered graph; the cache keeps the result."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from pydantic import TypeAdapter

from packc.cache import Cache, cache_key
from packc.candidate import OptionValue
from packc.child import run_child
from packc.ingest.fingerprint import fingerprint_files, hash_file
from packc.passes.lower import LoweringError, identify_passes
from packc.passes.sensitivity import Sensitivity

CACHE_KIND = "sensitivity"
RESULT_FILE = "sensitivity.json"
TIME_LIMIT_S = 600.0


@dataclass(frozen=True, slots=True)
class SensitivityRequest:
    """What the child measures: the graph at `model` with the samples of the file `calibration`."""

    model: Path
    answer: str
    """The output whose change is the error."""
    calibration: Path
    options: Mapping[str, OptionValue]
    """Of `quantize_dynamic`, as the recipe has them."""
    threads: int
    result: Path


def measure_sensitivity(
    model: Path,
    answer: str,
    calibration: Path,
    options: Mapping[str, OptionValue],
    threads: int,
    device: str,
    cache: Cache,
    *,
    reused: str = "",
) -> Sensitivity:
    """The sensitivity of every linear layer of `model`, on this `device`: int8 kernels differ between CPUs.

    Looks at calibration samples only: what is chosen by its result is judged on samples that had no part in it, unless
    the spec names no calibration data and the evaluation samples serve as both, which the verdict then says.
    What was measured before is told of in the words of `reused`. Raises LoweringError when it cannot be measured.
    """
    beside = [file for file in model.parent.rglob("*") if file.is_file()]
    key = cache_key(
        graph=fingerprint_files(beside, model.parent),
        answer=answer,
        calibration=hash_file(calibration),
        options=options,
        device=device,
        **identify_passes(),
    )

    def make(folder: Path) -> None:
        with TemporaryDirectory(dir=folder) as scratch:
            file = Path(scratch, "request.json")
            request = SensitivityRequest(model, answer, calibration, options, threads, folder / RESULT_FILE)
            file.write_bytes(TypeAdapter(SensitivityRequest).dump_json(request))
            what = "the measurement of sensitivities"
            if failure := run_child("packc.passes.sensitivity_worker", file, what, TIME_LIMIT_S):
                raise LoweringError(failure)

    folder = cache.get_or_make(CACHE_KIND, key, make, reused=reused)
    return TypeAdapter(Sensitivity).validate_json((folder / RESULT_FILE).read_bytes())
