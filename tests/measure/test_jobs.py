from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from packc.candidate import Candidate
from packc.measure.jobs import check_job, curve_job, short_job, timing_job
from stub_bundle import LARGEST, TYPICAL

CANDIDATE = Candidate("stub-int8", "stub", "int8", ())
MODEL = Path("somewhere/deep/graph.onnx")


def test_a_check_answers_and_times_the_typical_shape_alone() -> None:
    job = check_job(CANDIDATE, MODEL, {"level": 1}, 2, (TYPICAL, LARGEST), ("y",))
    assert (job.candidate, job.runtime, job.model) == ("stub-int8", "stub", "model/graph.onnx")
    assert (job.answer, job.outputs, job.cases) == (True, ("y",), (TYPICAL,))
    assert len(job.efforts) == 1
    assert (job.threads, job.options) == (2, {"level": 1})


def test_a_check_without_cases_only_answers() -> None:
    assert check_job(CANDIDATE, MODEL, {}, 2, (), ()).efforts == ()


def test_the_rounds_of_a_timing_together_suffice_for_the_percentile() -> None:
    job = timing_job(CANDIDATE, MODEL, {}, 2, (TYPICAL, LARGEST), rounds=3)
    assert job.cases == (TYPICAL, LARGEST)
    assert not job.answer
    assert 3 * job.efforts[0].min_calls >= 100
    assert job.efforts[1].max_seconds < job.efforts[0].max_seconds
    assert timing_job(CANDIDATE, MODEL, {}, 2, (TYPICAL,), 2, percentile=99.9).efforts[0].min_calls == 500


def test_a_curve_times_every_shape_alike_and_the_first_again() -> None:
    job = curve_job(CANDIDATE, MODEL, {"level": 1}, 2, (TYPICAL, LARGEST))
    assert job.cases == (TYPICAL, LARGEST, replace(TYPICAL, name="again"))
    assert (job.threads, job.options, job.answer) == (2, {"level": 1}, False)
    assert job.efforts[0] == job.efforts[1] == job.efforts[2]
    assert job.efforts[0].max_seconds < 1


def test_a_short_timing_calls_every_case_a_few_times() -> None:
    job = short_job(CANDIDATE, MODEL, {}, 2, (TYPICAL, LARGEST))
    assert [effort.min_calls for effort in job.efforts] == [10, 10]
    assert not job.answer
