from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from packc.jobs.bundle import read_result
from packc.jobs.job import JobResult
from packc.measure.curve import CurvePoint, ServiceCurve, is_disturbed, measure_curve
from packc.measure.jobs import AGAIN
from stub_bundle import DOUBLING, LARGEST, TYPICAL, stub_bundle, stub_job

SLOW = "import time\n" + DOUBLING.replace("    return {", "    time.sleep(0.004)\n    return {", 1)


def test_copies_run_at_once_and_their_times_are_pooled(tmp_path: Path) -> None:
    job = stub_job(cases=(TYPICAL, LARGEST))
    curve = measure_curve([stub_bundle(tmp_path / name, SLOW, job) for name in ("a", "b")], timeout_s=60)
    assert isinstance(curve, ServiceCurve)
    assert (curve.copies, curve.threads) == (2, 1)
    assert [(point.batch, point.sequence) for point in curve.points] == [(1, 4), (2, 8)]
    assert all(len(point.times_ms) == 8 and point.p50_ms >= 4 for point in curve.points)


def test_copies_meet(tmp_path: Path) -> None:
    """Each waits for the other's file: one after the other they would never end."""
    meet = """
import os, pathlib, time

def load(model, options, threads):
    room = pathlib.Path.cwd().parents[1] / "room"
    room.mkdir(exist_ok=True)
    (room / str(os.getpid())).touch()
    while len(list(room.iterdir())) < 2:
        time.sleep(0.01)

def run(session, inputs):
    return {}

def describe(session):
    return {}
"""
    bundles = [stub_bundle(tmp_path / name, meet, stub_job()) for name in ("a", "b")]
    assert isinstance(measure_curve(bundles, timeout_s=60), ServiceCurve)


def test_a_copy_that_fails_is_the_result(tmp_path: Path) -> None:
    broken = "import os; os.abort()"
    bundles = [stub_bundle(tmp_path / "a", job=stub_job()), stub_bundle(tmp_path / "b", broken, stub_job())]
    result = measure_curve(bundles, timeout_s=60)
    assert isinstance(result, JobResult)
    assert result.status == "killed"


def test_nobody_waits_for_a_copy_that_is_gone(tmp_path: Path) -> None:
    """Copies lie beside each other, as in a build. One crashes while it loads; the wait would be a minute."""
    broken = "import os; os.abort()"
    made = (stub_bundle(tmp_path / "a", job=stub_job()), stub_bundle(tmp_path / "b", broken, stub_job()))
    bundles = [bundle.rename(tmp_path / f"copy-{number}") for number, bundle in enumerate(made)]
    result = measure_curve(bundles, timeout_s=60)
    assert isinstance(result, JobResult)
    assert result.status == "killed"
    assert read_result(bundles[0]).status == "ok"


def test_there_is_no_curve_of_fewer_copies_than_were_asked_for(tmp_path: Path) -> None:
    """One never ends loading: the other neither begins alone nor is waited for beyond the limit."""
    stuck = DOUBLING.replace("    with open", "    import time; time.sleep(60)\n    with open")
    made = (stub_bundle(tmp_path / "a", job=stub_job()), stub_bundle(tmp_path / "b", stuck, stub_job()))
    bundles = [bundle.rename(tmp_path / f"copy-{number}") for number, bundle in enumerate(made)]
    result = measure_curve(bundles, timeout_s=5)
    assert isinstance(result, JobResult)
    assert (result.status, result.times) == ("failed", ())
    assert result.failure == "TimeoutError: copies did not load within 4.5 s: copy-1 is missing"


def test_one_copy_alone_tells_what_it_takes_of_a_gpu(tmp_path: Path) -> None:
    engine = DOUBLING + "\ndef device_memory_mib(session):\n    return 512.0\n"
    alone = measure_curve([stub_bundle(tmp_path / "a", engine, stub_job())], timeout_s=60)
    both = measure_curve([stub_bundle(tmp_path / name, engine, stub_job()) for name in ("b", "c")], timeout_s=60)
    assert isinstance(alone, ServiceCurve)
    assert isinstance(both, ServiceCurve)
    assert (alone.device_memory_mib, both.device_memory_mib) == (512.0, None)


def test_the_first_shape_is_measured_again_at_the_end(tmp_path: Path) -> None:
    job = stub_job(cases=(TYPICAL, LARGEST, replace(TYPICAL, name=AGAIN)))
    curve = measure_curve([stub_bundle(tmp_path / "a", SLOW, job)], timeout_s=60)
    assert isinstance(curve, ServiceCurve)
    assert [point.batch for point in curve.points] == [1, 2]
    assert curve.again is not None
    assert (curve.again.batch, curve.again.sequence) == (1, 4)


@pytest.mark.parametrize(
    ("times_ms", "again_ms", "disturbed"),
    [
        ((10.0, 12.0, 15.0, 20.0), 10.5, False),
        ((10.0, 12.0, 15.0, 20.0), None, False),
        ((10.0, 9.5, 15.0, 20.0), 10.0, False),
        ((10.0, 12.0, 15.0, 20.0), 14.0, True),
        ((10.0, 12.0, 15.0, 20.0), 7.0, True),
        ((10.0, 25.0, 15.0, 20.0), 10.0, True),
        ((10.0, 12.0, 25.0, 20.0), 10.0, True),
    ],
)
def test_a_disturbance_shows(times_ms: tuple[float, ...], again_ms: float | None, disturbed: bool) -> None:
    shapes = ((1, 8), (1, 16), (2, 8), (2, 16))
    points = tuple(CurvePoint(*shape, (ms,)) for shape, ms in zip(shapes, times_ms, strict=True))
    again = CurvePoint(1, 8, (again_ms,)) if again_ms else None
    assert is_disturbed(ServiceCurve(1, 1, points, again)) is disturbed


def test_a_point_knows_its_median() -> None:
    assert CurvePoint(1, None, (3.0, 1.0, 2.0)).p50_ms == 2.0
