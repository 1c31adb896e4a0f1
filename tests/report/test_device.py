"""How the GPU ran, in words."""

from __future__ import annotations

from dataclasses import replace

from manifests import CHOSEN, make_gpu_manifest
from packc.package.manifest import GpuStateRecord
from packc.report.device import advise_quiet, describe_gpu, list_device_caveats

FAST = GpuStateRecord(1980, 3201, 310.4, 54, ())
SLOW = GpuStateRecord(1725, 3201, 700.0, 83, ("power cap",))
SILENT = GpuStateRecord(None, None, None, None, None)


def test_clock_power_and_temperature_in_one_line() -> None:
    assert describe_gpu(make_gpu_manifest(FAST)) == "SM clock 1,980 MHz, 310 W, 54 °C after the calls"
    assert describe_gpu(make_gpu_manifest(FAST, SLOW)) == (
        "SM clock 1,725 to 1,980 MHz, 310 to 700 W, 54 to 83 °C after the calls; held back by its power cap"
    )


def test_it_is_about_the_chosen_candidate_alone() -> None:
    timed = make_gpu_manifest(FAST)
    others = [
        replace(record, measurements=replace(record.measurements, gpu_states=(SLOW,)))
        for record in timed.candidates
        if record.id != CHOSEN and record.measurements
    ]
    assert others
    chosen = [record for record in timed.candidates if record.id == CHOSEN]
    both = replace(timed, candidates=(*others, *chosen))
    assert describe_gpu(both) == describe_gpu(timed)
    unchosen = replace(both, verdict=replace(both.verdict, chosen=None))
    assert describe_gpu(unchosen).startswith("SM clock 1,725 to 1,980 MHz, 310 to 700 W")


def test_without_a_choice_it_is_about_all_that_were_timed() -> None:
    timed = make_gpu_manifest(FAST)
    unchosen = replace(timed, verdict=replace(timed.verdict, chosen=None))
    assert describe_gpu(unchosen) == describe_gpu(timed)


def test_where_nobody_told_nothing_is_said() -> None:
    for manifest in (make_gpu_manifest(), make_gpu_manifest(SILENT)):
        assert describe_gpu(manifest) == ""
        assert list_device_caveats(manifest) == ()


def test_a_gpu_that_does_not_tell_what_limits_it_is_not_called_free() -> None:
    told = "SM clock 1,980 MHz, 310 W, 54 °C after the calls"
    quiet = make_gpu_manifest(replace(FAST, limits=None))
    assert describe_gpu(quiet) == f"{told}; whether it was held back is not known"
    assert list_device_caveats(quiet) == ()
    assert describe_gpu(make_gpu_manifest(replace(FAST, limits=None), SLOW)).endswith("; held back by its power cap")


def test_a_steady_gpu_needs_no_remark() -> None:
    assert list_device_caveats(make_gpu_manifest(FAST, replace(FAST, sm_mhz=1900))) == ()


def test_changing_clocks_and_limits_are_remarked_on() -> None:
    drift, held = list_device_caveats(make_gpu_manifest(FAST, SLOW))
    assert f"between the rounds of {CHOSEN} (1,725 to 1,980 MHz)" in drift
    assert held.startswith(f"The GPU was held back while these were timed: {CHOSEN} (power cap).")


def test_a_shared_gpu_is_remarked_on() -> None:
    assert list_device_caveats(make_gpu_manifest(FAST, notes=("MIG mode is on.",))) == ("MIG mode is on.",)


def test_noise_of_job_bundles_was_on_their_device() -> None:
    here = make_gpu_manifest(FAST)
    assert advise_quiet(here) == "machine. Build again when it is quiet."
    there = replace(here, environment={**here.environment, "onnxruntime-gpu on the device": "1.31.1"})
    assert advise_quiet(there) == "device. Run the bundles again when it is quiet."
