from __future__ import annotations

from pydantic import TypeAdapter

from packc.jobs.job import Job
from stub_bundle import LARGEST, TYPICAL, stub_job


def test_a_job_survives_its_json_form() -> None:
    job = stub_job(cases=(TYPICAL, LARGEST), answer=True)
    adapter = TypeAdapter(Job)
    assert adapter.validate_json(adapter.dump_json(job)) == job
