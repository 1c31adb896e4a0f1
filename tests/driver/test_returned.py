"""What comes back of a bundle is believed only where it can be."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from packc.driver.returned import identify_graph, read_returned, read_unchanged_job
from packc.errors import PackError
from packc.ingest.fingerprint import hash_file
from packc.jobs.job import JobResult
from packc.package.manifest_file import hash_files
from packc.samples import save_samples
from stub_bundle import LARGEST, TYPICAL, stub_bundle, stub_job


@dataclass
class Returned:
    """A bundle that ran, and what its build wrote down of it."""

    bundle: Path
    files: dict[str, str]
    build: str = "this"

    def read(self) -> JobResult:
        return read_returned(self.bundle, read_unchanged_job(self.bundle, self.files, self.build))

    def edit(self, name: str, **changes: Any) -> None:
        file = self.bundle / name
        file.write_text(json.dumps(json.loads(file.read_text()) | changes))

    def run(self) -> None:
        command = [sys.executable, "run.py", "--rounds", "2"]
        subprocess.run(command, cwd=self.bundle, check=True, capture_output=True)


@pytest.fixture
def returned(tmp_path: Path) -> Returned:
    job = replace(stub_job(cases=(TYPICAL, LARGEST), answer=True), build="this")
    bundle = stub_bundle(tmp_path / "second", job=job)
    made = Returned(bundle, hash_files(bundle))
    made.run()
    return made


def refuse(returned: Returned, message: str) -> None:
    with pytest.raises(PackError, match=message):
        returned.read()


def test_what_ran_as_it_was_built_is_taken(returned: Returned) -> None:
    result = returned.read()
    assert result.status == "ok"
    assert [times.case for times in result.times] == ["typical", "max"] * 2
    assert result.answers == returned.bundle / "answers.npz"


def test_a_bundle_of_another_build_is_refused(returned: Returned) -> None:
    returned.build = "that"
    refuse(returned, "this bundle is of another build")


def test_a_graph_is_told_by_names_and_contents(tmp_path: Path) -> None:
    graphs = [tmp_path / "one" / "model.txt", tmp_path / "two" / "model.txt", tmp_path / "two" / "graph.txt"]
    for graph in graphs:
        graph.parent.mkdir(exist_ok=True)
        graph.write_text("2.0")
    one, same, renamed = map(identify_graph, graphs)
    assert one == same != renamed
    graphs[0].write_text("3.0")
    assert identify_graph(graphs[0]) != one


def test_a_bundle_with_another_graph_is_refused(returned: Returned) -> None:
    (returned.bundle / "model" / "model.txt").write_text("3.0")
    refuse(returned, r"bundle/model/model\.txt is not the file that this build made")
    (returned.bundle / "model" / "model.txt").unlink()
    refuse(returned, r"bundle/model/model\.txt did not come back")


@pytest.mark.parametrize("name", ["engine.py", "run.py", "samples.npz", "latency.npz"])
def test_what_it_ran_with_has_to_be_as_it_was_built(returned: Returned, name: str) -> None:
    with (returned.bundle / name).open("a") as file:
        file.write("\n")
    refuse(returned, f"{name} is not the file that this build made")


def test_a_bundle_of_another_making_is_refused(returned: Returned) -> None:
    """As when the build was made again, from a model whose export is never twice the same: the key is the same."""
    returned.edit("job.json", graph="0" * 64)
    returned.run()
    refuse(returned, r"job\.json is not the file that this build made")


def test_an_edited_job_is_refused(returned: Returned) -> None:
    whole = (returned.bundle / "job.json").read_bytes()
    returned.edit("job.json", threads=64)
    returned.run()
    refuse(returned, r"job\.json is not the file that this build made")
    (returned.bundle / "job.json").write_bytes(whole)
    refuse(returned, r"result\.json is not of the job\.json beside it: run the bundle again")


def test_answers_of_another_run_are_refused(returned: Returned) -> None:
    (returned.bundle / "answers.npz").write_bytes((returned.bundle / "samples.npz").read_bytes())
    refuse(returned, r"answers\.npz is not what the run wrote, by its sha256 in result\.json")
    (returned.bundle / "answers.npz").unlink()
    refuse(returned, r"its answers did not come back: .*answers\.npz is missing")


def forge(returned: Returned, write: Callable[[Path], object]) -> None:
    """Other answers, with their sha256 in the result."""
    answers = returned.bundle / "answers.npz"
    write(answers)
    returned.edit("result.json", answers_sha256=hash_file(answers))


def test_answers_that_cannot_be_read_are_refused(returned: Returned) -> None:
    whole = (returned.bundle / "answers.npz").read_bytes()
    forge(returned, lambda path: path.write_text("no archive"))
    refuse(returned, r"answers\.npz is damaged")
    forge(returned, lambda path: path.write_bytes(whole[:-30]))
    refuse(returned, r"answers\.npz is damaged")
    forge(returned, lambda path: np.savez(path, y=np.ones(3)))
    refuse(returned, r"answers\.npz is damaged")
    forge(returned, lambda path: np.savez(path, **{"0/y": np.ones(3), "2/y": np.ones(3)}))
    refuse(returned, r"answers\.npz is damaged")


def test_every_output_has_to_be_there(returned: Returned) -> None:
    forge(returned, lambda path: save_samples(path, [{"y": np.ones(3)}, {"z": np.ones(3)}]))
    refuse(returned, r"answers\.npz: sample 1 has no output y")


def test_a_result_without_answers_is_refused(returned: Returned) -> None:
    returned.edit("result.json", answers=None)
    refuse(returned, "its answers did not come back")


STATE = {"sm_mhz": 1980, "memory_mhz": None, "power_w": 310.0, "temperature_c": None, "limits": []}
TIMES = [{"case": "typical", "times_ms": [1.0]}, {"case": "max", "times_ms": [2.0]}]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"times": []}, "it has times of no case, the job asks for typical, max"),
        ({"times": TIMES[:1]}, "it has times of typical, the job asks for typical, max"),
        ({"times": [*TIMES, TIMES[0]]}, "it has times of typical, max, typical, the job asks for typical, max"),
        ({"times": [TIMES[0], {"case": "usual", "times_ms": [2.0]}]}, "it has times of typical, usual"),
        ({"times": [TIMES[0], {"case": "max", "times_ms": []}]}, "it has no times of the case max"),
        ({"times": [TIMES[0], {"case": "max", "times_ms": [1.0, -2.0]}]}, "a call of the case max took -2 ms"),
        ({"times": [TIMES[0], {"case": "max", "times_ms": [0.0]}]}, "a call of the case max took 0 ms"),
        ({"times": [TIMES[0], {"case": "max", "times_ms": [1e-9]}]}, "a call of the case max took 1e-09 ms"),
        ({"times": [TIMES[0], {"case": "max", "times_ms": [float("nan")]}]}, "a call of the case max took nan ms"),
        ({"times": [TIMES[0], {"case": "max", "times_ms": [float("inf")]}]}, "a call of the case max took inf ms"),
        ({"load_s": -1.0}, "load_s is -1"),
        ({"peak_rss_mib": float("nan")}, "peak_rss_mib is nan"),
        ({"gpu_states": [STATE | {"power_w": float("inf")}]}, "power_w is inf"),
    ],
)
def test_figures_that_no_run_gives_are_refused(returned: Returned, changes: dict[str, Any], message: str) -> None:
    returned.edit("result.json", **changes)
    refuse(returned, rf"second/bundle/result\.json: {message}")


def test_a_failure_needs_no_figures(returned: Returned) -> None:
    returned.edit("result.json", status="failed", failure="out of memory", times=[], answers=None, job_sha256=None)
    assert returned.read().failure == "out of memory"
