"""The runner as a bundle runs it: a process of its own, knowing nothing of packc."""

from __future__ import annotations

import ast
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from packc.ingest.fingerprint import hash_file
from packc.jobs import runner
from packc.jobs.bundle import join_copies, read_result
from packc.jobs.job import Effort, GpuState, JobResult
from packc.samples import load_samples
from stub_bundle import DOUBLING, LARGEST, TYPICAL, stub_bundle, stub_job


def run_by_hand(bundle: Path, *arguments: str) -> JobResult:
    done = subprocess.run([sys.executable, "run.py", *arguments], cwd=bundle, capture_output=True, timeout=60)
    result = read_result(bundle)
    assert done.returncode == (0 if result.status == "ok" else 1), done.stderr.decode()
    return result


def test_it_answers_times_and_describes(tmp_path: Path) -> None:
    bundle = stub_bundle(tmp_path, job=stub_job(cases=(TYPICAL, LARGEST), answer=True))
    result = run_by_hand(bundle)
    assert (result.status, result.failure) == ("ok", None)
    assert [case.case for case in result.times] == ["typical", "max"]
    assert all(len(case.times_ms) >= 4 and min(case.times_ms) > 0 for case in result.times)
    assert result.load_s > 0
    assert 5 < result.peak_rss_mib < 500
    assert "CPU" in result.device
    assert {"python", "numpy", "stub"} == {name for name, _ in result.versions}
    assert result.answers is not None
    assert result.answers_sha256 == hash_file(result.answers)
    assert result.job_sha256 == hash_file(bundle / "job.json")
    questions, answers = load_samples(tmp_path / "samples.npz"), load_samples(result.answers)
    assert [set(answer) for answer in answers] == [{"y"}] * 3, "only the outputs that were asked for"
    for question, answer in zip(questions, answers, strict=True):
        np.testing.assert_allclose(answer["y"], question["x"] * 2)


def test_an_engine_tells_what_the_model_takes_of_a_gpu(tmp_path: Path) -> None:
    assert run_by_hand(stub_bundle(tmp_path / "cpu")).device_memory_mib is None
    engine = DOUBLING + "\ndef device_memory_mib(session):\n    return 512.0\n"
    assert run_by_hand(stub_bundle(tmp_path / "gpu", engine)).device_memory_mib == 512.0


def test_a_gpu_is_read_once_a_round(tmp_path: Path) -> None:
    engine = DOUBLING + "\ndef device_memory_mib(session):\n    return None\n"
    bundle = stub_bundle(tmp_path, engine, stub_job(cases=(TYPICAL, LARGEST)))
    states = "def open_gpu(device):\n    return device\ndef read_state(gpu):\n    return STATE\n"
    state = GpuState(1980, 3201, 310.4, 54, ("power cap",))
    (bundle / "gpu_state.py").write_text(f"STATE = {asdict(state)}\n{states}")
    assert run_by_hand(bundle, "--rounds", "2").gpu_states == (state,) * 2
    (bundle / "gpu_state.py").write_text("def open_gpu(device):\n    return None\n")
    assert run_by_hand(bundle, "--rounds", "2").gpu_states == ()


def test_rounds_repeat_every_case(tmp_path: Path) -> None:
    result = run_by_hand(stub_bundle(tmp_path, job=stub_job(cases=(TYPICAL, LARGEST))), "--rounds", "2")
    assert [case.case for case in result.times] == ["typical", "max", "typical", "max"]
    assert result.answers is None


def test_an_engine_names_its_own_device(tmp_path: Path) -> None:
    engine = DOUBLING.replace('{"stub": "1.0"}', '{"device": "Accelerator 9"}')
    assert run_by_hand(stub_bundle(tmp_path, engine)).device == "Accelerator 9"


@pytest.mark.parametrize(
    ("engine", "failure"),
    [
        (
            DOUBLING.replace("return float(file.read())", "raise ValueError('bad graph\\nsecond line')"),
            "ValueError: bad graph",
        ),
        (DOUBLING.replace("float(file.read())", "{}['x']"), "KeyError: 'x'"),
        (
            "import a_package_that_is_not_here",
            "this Python has no a_package_that_is_not_here: run it with the one that has",
        ),
        (DOUBLING.replace("return {", "raise MemoryError\n    return {"), "MemoryError"),
        (
            DOUBLING.replace('"y":', '"z":'),
            "LookupError: the model has no output y; it has z, unused",
        ),
        ("def load(:", "SyntaxError: invalid syntax (engine.py, line 1)"),
    ],
)
def test_a_failure_becomes_one_line(tmp_path: Path, engine: str, failure: str) -> None:
    result = run_by_hand(stub_bundle(tmp_path, engine, stub_job(answer=True)))
    assert (result.status, result.failure, result.answers) == ("failed", failure, None)


def test_pack_reads_the_result_whatever_the_exit_status_says(tmp_path: Path) -> None:
    bundle = stub_bundle(tmp_path, "import a_package_that_is_not_here")
    done = subprocess.run([sys.executable, "run.py", "--child"], cwd=bundle, capture_output=True, timeout=60)
    assert (done.returncode, read_result(bundle).status) == (0, "failed")


def test_without_numpy_there_is_a_result_and_one_line(tmp_path: Path) -> None:
    bundle = stub_bundle(tmp_path, job=stub_job(answer=True))
    done = subprocess.run([sys.executable, "-S", "run.py"], cwd=bundle, capture_output=True, timeout=60)
    assert read_result(bundle).failure == "this Python has no numpy: run it with the one that has"
    assert done.returncode == 1
    assert done.stderr.decode() == "bundle: failed: this Python has no numpy: run it with the one that has\n"


@pytest.mark.parametrize("rounds", ["0", "-1", "two"])
def test_no_rounds_are_refused(tmp_path: Path, rounds: str) -> None:
    bundle = stub_bundle(tmp_path)
    done = subprocess.run([sys.executable, "run.py", "--rounds", rounds], cwd=bundle, capture_output=True, timeout=60)
    assert done.returncode == 2
    assert b"rounds" in done.stderr
    assert not (bundle / "result.json").exists()


def test_what_an_earlier_run_left_goes_first(tmp_path: Path) -> None:
    engine = DOUBLING.replace("return {", "import os\n    os.abort()\n    return {", 1)
    bundle = stub_bundle(tmp_path, engine, stub_job(answer=True))
    for name in ("result.json", "answers.npz"):
        (bundle / name).write_text("of an earlier run")
    subprocess.run([sys.executable, "run.py"], cwd=bundle, capture_output=True, timeout=60)
    assert not any((bundle / name).exists() for name in ("result.json", "answers.npz"))


def read_files(bundle: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in bundle.iterdir() if path.is_file()}


def run_somehow(bundle: Path, *options: str) -> tuple[int, str]:
    """The exit status and what it said."""
    done = subprocess.run([sys.executable, *options, "run.py"], cwd=bundle, capture_output=True, timeout=60)
    return done.returncode, done.stderr.decode()


UNHEALTHY = DOUBLING.replace("    return {", "    if os.path.exists('ill'):\n        FAULT\n    return {", 1)


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("raise RuntimeError('no GPU')", "bundle: failed: RuntimeError: no GPU\n"),
        ("os._exit(3)", ""),
        ("if len(inputs['x']) == 2: raise RuntimeError('no memory')", "bundle: failed: RuntimeError: no memory\n"),
    ],
)
def test_a_good_result_stays_until_there_is_another(tmp_path: Path, fault: str, said: str) -> None:
    """Where the next run fails as it answers, or as it times, or is killed."""
    engine = f"import os\n{UNHEALTHY.replace('FAULT', fault)}"
    bundle = stub_bundle(tmp_path, engine, stub_job(cases=(TYPICAL, LARGEST), answer=True))
    assert run_by_hand(bundle).status == "ok"
    (bundle / "ill").touch()
    before = read_files(bundle)
    code, told = run_somehow(bundle)
    assert code != 0
    if said:
        assert told == f"bundle: the good result of an earlier run stays\n{said}"
    after = read_files(bundle)
    after.pop(".answers.npz.part", None)  # of the run that was killed
    assert after == before
    (bundle / "ill").unlink()
    assert run_by_hand(bundle).status == "ok"
    assert (bundle / "result.json").read_bytes() != before["result.json"]
    assert not (bundle / ".answers.npz.part").exists()


def test_a_python_without_the_packages_leaves_a_good_result(tmp_path: Path) -> None:
    bundle = stub_bundle(tmp_path, job=stub_job(answer=True))
    run_by_hand(bundle)
    before = read_files(bundle)
    code, told = run_somehow(bundle, "-S")
    assert (code, read_files(bundle)) == (1, before)
    assert "bundle: the good result of an earlier run stays\n" in told


@pytest.mark.parametrize("name", ["job.json", "answers.npz"])
def test_a_result_of_another_job_or_without_its_answers_is_not_good(tmp_path: Path, name: str) -> None:
    bundle = stub_bundle(tmp_path, job=stub_job(answer=True))
    run_by_hand(bundle)
    (bundle / name).write_bytes((bundle / name).read_bytes() + b"\n")
    assert run_somehow(bundle, "-S")[0] == 1
    assert read_result(bundle).status == "failed"
    assert not (bundle / "answers.npz").exists()


def test_a_result_does_not_outlive_its_engine(tmp_path: Path) -> None:
    building = "import os\n" + DOUBLING.replace(
        "    with open",
        """    with open("model/model.plan", "w") as file:
        file.write("built")
    if os.path.exists("ill"):
        raise RuntimeError("no memory")
    with open""",
        1,
    )
    bundle = stub_bundle(tmp_path, building, stub_job(answer=True))
    assert run_by_hand(bundle).status == "ok"
    (bundle / "ill").touch()
    result = run_by_hand(bundle)
    assert (result.status, result.failure) == ("failed", "RuntimeError: no memory")
    assert not (bundle / "answers.npz").exists()


def test_what_an_adapter_tells_has_no_traceback_and_a_mistake_has(tmp_path: Path) -> None:
    told = DOUBLING.replace("    with open", "    raise RuntimeError('no GPU')\n    with open", 1)
    assert run_somehow(stub_bundle(tmp_path / "told", told)) == (1, "bundle: failed: RuntimeError: no GPU\n")
    for number, fault in enumerate(("{}['x']", "int('x')", "import json; json.loads('{')")):
        wrong = DOUBLING.replace("    with open", f"    {fault}\n    with open", 1)
        assert "Traceback" in run_somehow(stub_bundle(tmp_path / str(number), wrong))[1]


def test_what_a_library_raises_has_its_traceback(tmp_path: Path) -> None:
    """Of the very type that adapters raise for people: nobody chose the words for them, nor says where it was."""
    calling = DOUBLING.replace("    with open", "    library.compute()\n    with open", 1)
    bundle = stub_bundle(tmp_path / "job", f"import sys\nsys.path.append({str(tmp_path)!r})\nimport library\n{calling}")
    (tmp_path / "library.py").write_text("def compute():\n    raise RuntimeError('no kernel')\n")
    code, told = run_somehow(bundle)
    assert (code, read_result(bundle).failure) == (1, "RuntimeError: no kernel")
    assert "Traceback" in told
    assert str(tmp_path / "library.py") in told


def test_a_failure_has_the_versions_of_what_failed(tmp_path: Path) -> None:
    engine = "import json\nimport numpy as np\nimport other as ort\n" + DOUBLING
    bundle = stub_bundle(tmp_path / "good", engine)
    (bundle / "other.py").write_text("__version__ = '1.31.1'\n")
    assert {name for name, _ in run_by_hand(bundle).versions} == {"python", "numpy", "stub"}, "as the adapter says"
    failing = engine.replace("    with open", "    raise RuntimeError('no GPU')\n    with open", 1)
    bundle = stub_bundle(tmp_path / "failing", failing)
    (bundle / "other.py").write_text("__version__ = '1.31.1'\n")
    versions = dict(run_by_hand(bundle).versions)
    assert (versions["other"], set(versions)) == ("1.31.1", {"python", "numpy", "other"})


def test_what_came_before_a_failure_is_kept(tmp_path: Path) -> None:
    engine = DOUBLING.replace("return {", "assert len(inputs['x']) == 1, 'batch 2'\n    return {", 1)
    result = run_by_hand(stub_bundle(tmp_path, engine, stub_job(cases=(TYPICAL, LARGEST))))
    assert result.status == "failed"
    assert result.failure == "AssertionError: batch 2"
    assert [case.case for case in result.times] == ["typical"]
    assert result.load_s > 0


def count_calls(effort: Effort, call_s: float, monkeypatch: pytest.MonkeyPatch) -> tuple[int, int]:
    """Calls made and calls timed when every call takes `call_s` of a clock that nothing else moves."""
    clock = [0.0]
    monkeypatch.setattr(runner.time, "perf_counter", lambda: clock[0])
    monkeypatch.setattr(runner.time, "perf_counter_ns", lambda: round(clock[0] * 1e9))
    calls = []

    def call(session: object, sample: object) -> dict[str, object]:
        calls.append(session)
        clock[0] += call_s
        return {}

    fields = {name: getattr(effort, name) for name in ("warmup", "min_calls", "min_seconds", "max_seconds")}
    times_ms = runner.time_calls(call, "session", {}, fields)
    assert times_ms == pytest.approx([call_s * 1e3] * len(times_ms))
    return len(calls), len(times_ms)


@pytest.mark.parametrize(
    ("call_s", "made", "timed"),
    [
        (0.001, 5 + 300, 300),  # fast: until min_seconds
        (0.01, 5 + 40, 40),  # until min_calls
        (0.1, 5 + 20, 20),  # slow: until max_seconds
        (5.0, 1 + 3, 3),  # slower than max_seconds: three calls at least
    ],
)
def test_effort_bounds_the_calls(call_s: float, made: int, timed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    effort = Effort(warmup=5, min_calls=40, min_seconds=0.3, max_seconds=2.0)
    assert count_calls(effort, call_s, monkeypatch) == (made, timed)


def test_it_needs_only_numpy_and_python_3_10() -> None:
    tree = ast.parse(Path(runner.__file__).read_text("utf-8"), feature_version=(3, 10))
    imported = {
        name.name.split(".")[0] for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names
    }
    imported |= {str(node.module).split(".")[0] for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert imported - sys.stdlib_module_names == {"numpy"}


def test_peak_memory_is_this_process_alone(tmp_path: Path) -> None:
    ballast = np.ones(400 * 2**17)  # 400 MiB in the parent
    result = run_by_hand(stub_bundle(tmp_path))
    assert result.peak_rss_mib < 300 < ballast.nbytes / 2**20


def test_copies_begin_when_the_last_has_loaded(tmp_path: Path) -> None:
    """One loads half a second longer; both note when they had loaded, and when they are called."""
    noting = """
import time

def load(model, options, threads):
    time.sleep(SECONDS)
    open("loaded_at", "w").write(str(time.monotonic()))

def run(session, inputs):
    open("called_at", "a").write(f"{time.monotonic()} ")
    return {"y": inputs["x"]}

def describe(session):
    return {}
"""
    bundles = [
        stub_bundle(tmp_path / name, f"SECONDS = {seconds}\n{noting}", stub_job(cases=(TYPICAL,))).rename(
            tmp_path / f"{name}-copy"
        )
        for name, seconds in (("fast", 0.0), ("slow", 0.5))
    ]
    join_copies(bundles, 60.0)
    with ThreadPoolExecutor() as pool:
        assert all(result.status == "ok" for result in pool.map(run_by_hand, bundles))
    first_call = float((bundles[0] / "called_at").read_text().split()[0])
    assert first_call >= float((bundles[1] / "loaded_at").read_text())


def test_a_copy_that_fails_is_not_waited_for(tmp_path: Path) -> None:
    engines = (DOUBLING, DOUBLING.replace("    with open", "    raise RuntimeError('no memory')\n    with open"))
    bundles = [
        stub_bundle(tmp_path / str(number), engine, stub_job(cases=(TYPICAL,))).rename(tmp_path / f"copy-{number}")
        for number, engine in enumerate(engines)
    ]
    join_copies(bundles, 60.0)
    with ThreadPoolExecutor() as pool:
        good, bad = pool.map(run_by_hand, bundles)
    assert (good.status, bad.failure) == ("ok", "RuntimeError: no memory")


def test_a_copy_that_waited_in_vain_does_not_begin_alone(tmp_path: Path) -> None:
    job = stub_job(cases=(TYPICAL,), answer=True)
    bundle = stub_bundle(tmp_path / "first", job=job).rename(tmp_path / "copy-0")
    (tmp_path / "copy-1").mkdir()
    join_copies([bundle, tmp_path / "copy-1"], 0.2)
    result = run_by_hand(bundle)
    assert (result.status, result.times, result.answers) == ("failed", (), None)
    assert result.failure == "TimeoutError: copies did not load within 0.2 s: copy-1 is missing"
