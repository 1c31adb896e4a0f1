"""Runs the job bundle that this file lies in: `python3 run.py [--rounds N]` writes result.json and answers.npz.

Copied into every bundle as run.py, so it imports nothing of packc: Python 3.10, numpy and the bundle's engine.py,
result_files.py and gpu_state.py.
Whatever goes wrong is written into result.json, numpy that is missing as well, unless an earlier run of the same job
left a good result, which only another good one replaces. The exit status is 1 where the job failed; for pack, which
asks for `--child` and reads the file, it is 0 whenever that was written.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import hashlib
import importlib
import itertools
import json
import logging
import os
import platform
import resource
import signal
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

log = logging.getLogger("run")

LEAST_CALLS = 3
FAILURE_CHARACTERS = 400
PR_SET_PDEATHSIG = 1
COPIES = "copies.json"
"""File that names the copies of a bundle which run at the same time, and how long each waits for the others."""
LOADED = "loaded"
"""File that a copy leaves once it has loaded."""
TOLD = (RuntimeError, LookupError, TimeoutError)
"""What this file and adapters raise for people to read; subclasses, such as KeyError, are mistakes in the code."""

Tensors = dict[str, Any]
"""Name -> numpy's array. numpy itself is imported where it is used, as a Python without it has to say so."""


def main() -> None:
    parser = argparse.ArgumentParser(description="Run this job bundle; writes result.json beside this file.")
    parser.add_argument("--rounds", type=count_rounds, default=1, metavar="N", help="time every case N times")
    parser.add_argument("--child", action="store_true", help="end with the starting process, and before it")
    arguments = parser.parse_args()
    logging.basicConfig(format="%(message)s", level=logging.INFO)
    if arguments.child:
        become_expendable()
    bundle = Path(__file__).resolve().parent
    result = run(bundle, arguments.rounds)
    log.info("%s: %s", bundle.name, f"failed: {result['failure']}" if result["failure"] else "ok")
    if result["failure"] and not arguments.child:
        sys.exit(1)


def count_rounds(text: str) -> int:
    """The number of rounds, 1 at least: without a time there is no result. Raises ArgumentTypeError."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of rounds: 1 or more")
    return int(text)


def run(bundle: Path, rounds: int) -> dict[str, Any]:
    """Does the whole job; returns what came of it: the fields of packc.jobs.job.JobResult, as result.json has them.

    What an earlier run left goes first, so that none of it stands beside what this one leaves, even if it is killed. A
    good result stays until there is another one: a Python without the runtime, say, costs none of what another one did.
    """
    files = importlib.import_module("result_files")
    if not files.has_good_result(bundle):
        files.remove_result(bundle)
    result: dict[str, Any] = {
        "status": "ok",
        "failure": None,
        "load_s": 0.0,
        "peak_rss_mib": 0.0,
        "times": [],
        "answers": None,
        "answers_sha256": None,
        "job_sha256": None,
        "device_memory_mib": None,
        "gpu_states": [],
        "device": cpu_name(),
        "versions": [["python", platform.python_version()]],
    }
    try:
        job = (bundle / "job.json").read_bytes()
        result["job_sha256"] = hashlib.sha256(job).hexdigest()
        result["versions"].append(["numpy", importlib.import_module("numpy").__version__])
        run_job(bundle, json.loads(job), rounds, result)
    except ModuleNotFoundError as error:  # a matter of how it is run, not of the job: no traceback
        result["status"] = "failed"
        known = f"this Python has no {error.name}: run it with the one that has"
        result["failure"] = known if error.name else one_line(error)
    except Exception as error:
        if not is_told(error, bundle):
            log.exception("the job failed")
        result["status"] = "failed"
        result["failure"] = one_line(error)
    result["peak_rss_mib"] = peak_rss_mib()
    if result["failure"] and files.has_good_result(bundle):
        (bundle / files.NEW_ANSWERS).unlink(missing_ok=True)
        log.info("%s: the good result of an earlier run stays", bundle.name)
    else:
        files.write_result(bundle, result)
    return result


def run_job(bundle: Path, job: dict[str, Any], rounds: int, result: dict[str, Any]) -> None:
    """Loads, answers and times; fills `result` as it goes, so that a failure keeps what came before it."""
    engine, files = (importlib.import_module(name) for name in ("engine", "result_files"))
    own = result["versions"]
    result["versions"] = own + list_packages(engine)  # where loading fails, that is what failed
    model = bundle / job["model"]
    before = list_times(model.parent)
    start = time.perf_counter()
    try:
        session = engine.load(str(model), job["options"], job["threads"])
    finally:
        if list_times(model.parent) != before:  # an engine was built: what the one before it did tells nothing of it
            files.remove_result(bundle)
    result["load_s"] = round(time.perf_counter() - start, 6)
    await_copies(bundle)
    facts = dict(engine.describe(session))
    result["device"] = facts.pop("device", result["device"])
    result["versions"] = own + [[name, version] for name, version in sorted(facts.items())]
    if job["answer"]:
        answers = bundle / files.NEW_ANSWERS
        write_answers(engine, session, bundle / "samples.npz", job["outputs"], answers)
        result["answers"], result["answers_sha256"] = files.ANSWERS, files.hash_file(answers)
    if job["cases"]:
        inputs = list(itertools.islice(read_samples(bundle / "latency.npz"), len(job["cases"])))
        read_state = open_state_reader(engine, job)
        for _ in range(rounds):
            for number, (case, effort, sample) in enumerate(zip(job["cases"], job["efforts"], inputs, strict=True)):
                times_ms = time_calls(engine.run, session, sample, effort)
                if number == 0:  # while the clocks are still those of the calls that count most
                    result["gpu_states"] += read_state()
                result["times"].append({"case": case["name"], "times_ms": times_ms})
    if hasattr(engine, "device_memory_mib"):
        result["device_memory_mib"] = engine.device_memory_mib(session)


def list_packages(engine: Any) -> list[list[str]]:
    """[package, version] of what the adapter imported by name, but numpy."""
    modules = [value for value in vars(engine).values() if isinstance(value, ModuleType)]
    known = {"numpy", *sys.stdlib_module_names}
    told = {module.__name__: getattr(module, "__version__", None) for module in modules}
    return sorted([name, str(version)] for name, version in told.items() if version and name not in known)


def list_times(folder: Path) -> dict[Path, int]:
    """File below `folder` -> when it was written, in nanoseconds."""
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def await_copies(bundle: Path) -> None:
    """Waits until all copies that COPIES names have loaded or ended, so that their calls are made side by side.

    Loading takes copies on a GPU seconds more or less. Raises TimeoutError where one has not loaded when the wait is
    over, which begins as COPIES is written: times of fewer copies would be taken for those of all.
    """
    file = bundle / COPIES
    if not file.is_file():
        return
    (bundle / LOADED).touch()
    copies = json.loads(file.read_text("utf-8"))
    deadline = file.stat().st_mtime + copies["wait_s"]
    for name in copies["names"]:
        other = bundle.parent / name
        while not any((other / end).exists() for end in (LOADED, "result.json")):
            if time.time() > deadline:
                raise TimeoutError(f"copies did not load within {copies['wait_s']:g} s: {name} is missing")
            time.sleep(0.005)


def open_state_reader(engine: Any, job: dict[str, Any]) -> Callable[[], list[dict[str, Any]]]:
    """Reads how the engine's GPU runs: one state a call, or none where it computes elsewhere or nothing is told."""
    if not hasattr(engine, "device_memory_mib"):
        return list
    gpu_state = importlib.import_module("gpu_state")
    gpu = gpu_state.open_gpu(int(job["options"].get("device", 0)))
    return list if gpu is None else lambda: [gpu_state.read_state(gpu)]


def write_answers(engine: Any, session: Any, samples: Path, outputs: list[str], path: Path) -> None:
    """Writes the answers to all samples one by one, so that memory holds a single one."""
    import numpy as np

    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for index, sample in enumerate(read_samples(samples)):
            answer = engine.run(session, sample)
            missing = [name for name in outputs if name not in answer]
            if missing:
                raise LookupError(f"the model has no output {', '.join(missing)}; it has {', '.join(answer)}")
            for name in outputs or answer:
                with archive.open(f"{index}/{name}.npy", "w", force_zip64=True) as file:
                    np.lib.format.write_array(file, np.asarray(answer[name]), allow_pickle=False)


def time_calls(call: Callable[[Any, Tensors], Tensors], session: Any, sample: Tensors, effort: Any) -> list[float]:
    """Wall time of single calls in milliseconds, after warming up; see packc.jobs.job.Effort."""
    start = time.perf_counter()
    for _ in range(effort["warmup"]):
        call(session, sample)
        if time.perf_counter() - start > effort["max_seconds"]:
            break
    times_ms: list[float] = []
    start_ns = time.perf_counter_ns()
    while True:
        before_ns = time.perf_counter_ns()
        call(session, sample)
        after_ns = time.perf_counter_ns()
        times_ms.append((after_ns - before_ns) / 1e6)
        elapsed_s = (after_ns - start_ns) / 1e9
        is_enough = len(times_ms) >= effort["min_calls"] and elapsed_s >= effort["min_seconds"]
        if len(times_ms) >= LEAST_CALLS and (is_enough or elapsed_s >= effort["max_seconds"]):
            return times_ms


def read_samples(path: Path) -> Iterator[Tensors]:
    """The samples of a file in the layout of packc.samples, in order, read one at a time."""
    import numpy as np

    with np.load(path, allow_pickle=False) as archive:
        names: dict[int, list[str]] = {}
        for key in archive.files:
            index, name = key.split("/", 1)
            names.setdefault(int(index), []).append(name)
        for index in sorted(names):
            yield {name: archive[f"{index}/{name}"] for name in names[index]}


def is_told(error: Exception, bundle: Path) -> bool:
    """Whether a file of the bundle raised it for people, who need no place in the code beside its words."""
    place = error.__traceback__
    while place is not None and place.tb_next is not None:
        place = place.tb_next
    is_own = place is not None and Path(place.tb_frame.f_code.co_filename).resolve().parent == bundle
    return is_own and type(error) in TOLD


def one_line(error: Exception) -> str:
    """The exception as one line: its type and the first line of its message."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return ": ".join([type(error).__name__, *lines[:1]])[:FAILURE_CHARACTERS]


def peak_rss_mib() -> float:
    """Largest resident memory of this process.

    /proc rather than getrusage where it exists: ru_maxrss starts from the size of the process that started this one.
    """
    try:
        status = Path("/proc/self/status").read_text("utf-8")
        return int(status.split("VmHWM:")[1].split()[0]) / 1024
    except (OSError, IndexError):
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak / 2**20 if sys.platform == "darwin" else peak / 2**10


def cpu_name() -> str:
    """The processor and how many logical CPUs this process may use: "AMD EPYC 9654 (4 CPUs)"."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    name = platform.processor() or platform.machine()
    try:
        for line in Path("/proc/cpuinfo").read_text("utf-8").splitlines():
            if line.startswith("model name"):
                name = line.split(":", 1)[1].strip()
                break
    except OSError:
        pass
    return f"{name} ({count} CPU{'s' if count != 1 else ''})"


def become_expendable() -> None:
    """Has the kernel (Linux) kill this process when the one that started it dies, and first when memory runs out."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        with contextlib.suppress(OSError):
            Path("/proc/self/oom_score_adj").write_text("1000", "utf-8")


if __name__ == "__main__":
    main()
