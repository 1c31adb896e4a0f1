from __future__ import annotations

from pathlib import Path

from packc.jobs.job import JobResult
from packc.measure.curve import CurvePoint, ServiceCurve, measure_curve
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


def test_a_point_knows_its_median() -> None:
    assert CurvePoint(1, None, (3.0, 1.0, 2.0)).p50_ms == 2.0
