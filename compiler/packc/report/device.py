"""How the GPU ran while candidates were timed: in one line, and what of it makes their figures less than they seem."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from packc.package.manifest import ON_THE_DEVICE, CandidateRecord, GpuStateRecord, Manifest

STEADY = 0.05
"""Of the higher clock, that those of a candidate's rounds may differ by without a remark."""


def describe_gpu(manifest: Manifest) -> str:
    """`SM clock 1,725 to 1,980 MHz, 310 W, 54 °C after the calls; held back by its power cap`; empty where nobody told.
    Where only that was not told, the last part is `whether it was held back is not known`.

    It was read once a round, just after the calls of the first shape, so that no highest figure is known. Of the chosen
    candidate's rounds, or those of all that were timed for long where none was chosen.
    """
    chosen = [record for record in manifest.candidates if record.id == manifest.verdict.chosen]
    states = _list_states(chosen) or _list_states(manifest.candidates)
    parts = []
    if clocks := [state.sm_mhz for state in states if state.sm_mhz is not None]:
        parts.append(f"SM clock {_describe_range(clocks, 'MHz')}")
    if watts := [state.power_w for state in states if state.power_w is not None]:
        parts.append(_describe_range([round(power_w) for power_w in watts], "W"))
    if degrees := [state.temperature_c for state in states if state.temperature_c is not None]:
        parts.append(_describe_range(degrees, "°C"))
    if not parts:
        return ""
    told = f"{', '.join(parts)} after the calls"
    if limits := _list_limits(states):
        return f"{told}; held back by its {limits}"
    return (
        told if all(state.limits is not None for state in states) else f"{told}; whether it was held back is not known"
    )


def list_device_caveats(manifest: Manifest) -> tuple[str, ...]:
    """What a reader should know of the device before trusting the figures, in sentences."""
    timed = [(record.id, _list_states([record])) for record in manifest.candidates]
    caveats = list(manifest.device_notes)
    if unsteady := [
        f"{name} ({_describe_range(found, 'MHz')})" for name, states in timed if (found := _find_drift(states))
    ]:
        caveats.append(
            f"The GPU's SM clock changed by more than {100 * STEADY:g} % between the rounds of "
            f"{', '.join(unsteady)}: their figures are of several clocks."
        )
    if held := [f"{name} ({limits})" for name, states in timed if (limits := _list_limits(states))]:
        caveats.append(
            f"The GPU was held back while these were timed: {', '.join(held)}. A cooler GPU, or one with another power "
            "limit, is faster."
        )
    return tuple(caveats)


def _list_states(records: Iterable[CandidateRecord]) -> list[GpuStateRecord]:
    return [state for record in records if record.measurements for state in record.measurements.gpu_states]


def _find_drift(states: Sequence[GpuStateRecord]) -> list[int]:
    """The clocks, where they differ by more than STEADY."""
    clocks = [state.sm_mhz for state in states if state.sm_mhz is not None]
    return clocks if clocks and min(clocks) < (1 - STEADY) * max(clocks) else []


def _list_limits(states: Sequence[GpuStateRecord]) -> str:
    return ", ".join(sorted({limit for state in states for limit in state.limits or ()}))


def _describe_range(figures: Sequence[int], unit: str) -> str:
    low, high = min(figures), max(figures)
    return f"{high:,} {unit}" if low == high else f"{low:,} to {high:,} {unit}"


def advise_quiet(manifest: Manifest) -> str:
    """What something else uses where figures are noisy, and what to do: of job bundles, no build measures again."""
    if any(name.endswith(ON_THE_DEVICE) for name in manifest.environment):
        return "device. Run the bundles again when it is quiet."
    return "machine. Build again when it is quiet."
