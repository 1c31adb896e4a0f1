"""What mixed candidates rest on, as the manifest's record: each layer's error and cost, and which ones were kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict

from packc.candidate import Candidate
from packc.driver.evaluate import Trial
from packc.driver.mixed import MIXED, choose_base, find_quantizer, measure_base
from packc.package.insight import LayerRecord, SensitivityRecord
from packc.passes.sensitivity import LayerSensitivity, Sensitivity
from packc.select import Outcome


def find_sensitivity(outcomes: Sequence[Outcome], trial: Trial) -> dict[str, Sensitivity]:
    """What was measured for the mixed candidates among `outcomes`, from the cache, by runtime."""
    found = {}
    for runtime in dict.fromkeys(o.candidate.runtime for o in outcomes if MIXED in o.candidate.id):
        base = choose_base([outcome for outcome in outcomes if outcome.candidate.runtime == runtime], trial)
        sensitivity = measure_base(base, trial) if base else None
        if sensitivity is not None:
            found[runtime] = sensitivity
    return found


def record_sensitivity(
    found: Mapping[str, Sensitivity], outcomes: Sequence[Outcome], chosen: str | None
) -> SensitivityRecord | None:
    """The record of the chosen candidate's runtime, or else of the first one that has mixed candidates."""
    candidate = next((o.candidate for o in outcomes if o.candidate.id == chosen), None)
    runtime = candidate.runtime if candidate and candidate.runtime in found else next(iter(found), None)
    if runtime is None:
        return None
    layers = tuple(
        LayerRecord(
            **asdict(layer),
            is_kept=candidate is not None and candidate.runtime == runtime and _keeps(candidate, layer),
        )
        for layer in found[runtime].layers
    )
    return SensitivityRecord(runtime, found[runtime].samples, layers)


def _keeps(candidate: Candidate, layer: LayerSensitivity) -> bool:
    """Whether the candidate leaves the layer out of quantization."""
    step = find_quantizer(candidate)
    if step is None:
        return candidate.precision != "int8"
    match step.options.get("exclude", ""):
        case "ffn_down":
            return layer.kind == "ffn down"
        case tuple() as names:
            return layer.name in names
        case _:
            return False
