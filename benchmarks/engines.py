"""pack's candidates beside single engines and a peer, at fixed shapes, all timed in turns in one run.

    python benchmarks/engines.py [MODEL ...] [--threads N] [--rounds N] [--olive PYTHON]

MODEL: minilm (real weights), bert-base, vit-base, resnet-50 (random weights: their int8 quality proves nothing about
trained ones). Each figure is the median of the calls of all rounds; each round runs every row once, in a fresh
process. Ratios are against ONNX Runtime's fp32 session of the graph as exported. Answers are compared with the
source model in PyTorch over the same sentences or images. `--olive` names the Python of an environment with Olive.
"""

from __future__ import annotations

import argparse
import logging
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from support.models import MODELS, BenchModel
from support.peers import Peer, make_peers
from support.results import write_results

from packc.cache import Cache
from packc.data.workload import make_latency_inputs
from packc.driver.evaluate import Trial
from packc.driver.halving import check_candidates
from packc.driver.inputs import BuildInputs, gather_inputs
from packc.driver.target import make_trial
from packc.ingest.ingest import ingest_model
from packc.ingest.inspect import inspect_source
from packc.jobs.bundle import write_bundle
from packc.jobs.job import Effort, Job, JobResult
from packc.jobs.local import run_bundle
from packc.measure.measurement import Measurement
from packc.measure.rounds import measure_bundles
from packc.package.artifact import artifact_files
from packc.plan import make_plan
from packc.quality.metrics import score_answers
from packc.runtimes import find_runtime
from packc.search import TimeLimit
from packc.spec.read import read_spec
from packc.spec.resolve import resolve_targets
from packc.target_profiles import find_target
from packc.tensors import ShapeCase

BASELINE = "onnxruntime-fp32"
LOSSLESS = 0.9999
TIMEOUT_S = 900.0

SPEC = """
[model]
name = "{name}"
source = "{source}"
task = "{task}"
{pooling}
[workload]
batch = {{ typical = 1, max = 16 }}
{data}
[targets.cpu]
profile = "host"
"""


@dataclass(frozen=True, slots=True)
class Row:
    """One way to run the model, with its answers' quality."""

    name: str
    is_ours: bool
    engine: Mapping[str, Path]
    """Its files in a bundle."""
    runtime: str
    model: Path
    options: dict[str, object]
    cosine: float
    judged: float
    """The model's own metric, at the lower end of its 95 % interval."""


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="*", choices=[[], *MODELS], metavar="MODEL")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--olive", type=Path, help="a Python that has Olive")
    arguments = parser.parse_args()
    for name in arguments.models or MODELS:
        body = compare_engines(MODELS[name], arguments.threads, arguments.rounds, arguments.olive)
        title = f"Engines side by side: {name}, {MODELS[name].weights} weights, {arguments.threads} threads"
        write_results(f"engines-{name}", title, f"python benchmarks/engines.py {name}", body)


def compare_engines(model: BenchModel, threads: int, rounds: int, olive: Path | None) -> str:
    """The table of one model, as Markdown."""
    cache = Cache()
    with tempfile.TemporaryDirectory(prefix="pack-engines-") as folder:
        scratch = Path(folder)
        inputs = read_inputs(model, scratch)
        ingested = ingest_model(inputs.info, inputs.evaluation, inputs.calibration, cache)
        cases = tuple(ShapeCase(describe_case(*shape), *shape) for shape in model.shapes)
        make_latency_inputs(cases, ingested.inputs, ingested.source, scratch / "latency.npz")
        trial = replace(
            make_trial(inputs, ingested, cache), cases=cases, latency_inputs=scratch / "latency.npz", threads=threads
        )
        rows = [*list_ours(inputs, trial), *list_peers(trial, scratch, "bf16" in inputs.target.native, olive)]
        results = time_rows(rows, trial, scratch, rounds)
        return show_table(model, rows, results, cases)


def read_inputs(model: BenchModel, scratch: Path) -> BuildInputs:
    is_text = model.shapes[0][1] is not None
    text = SPEC.format(
        name=model.name,
        source=model.find(),
        task=model.task,
        pooling='pooling = "mean"\n' if is_text else "",
        data=model.data(),
    )
    path = scratch / "spec.toml"
    path.write_text(text)
    spec = read_spec(path)
    target = resolve_targets(spec)[0]
    return gather_inputs(target, find_target("host", scratch), inspect_source(spec.model), verify=False)


def describe_case(batch: int, tokens: int | None) -> str:
    return f"batch {batch}" if tokens is None else f"{batch}x{tokens}"


def list_ours(inputs: BuildInputs, trial: Trial) -> list[Row]:
    """pack's candidates that ran, whatever their quality."""
    plan = make_plan(inputs.info, inputs.target, inputs.spec.optimize)
    rows = []
    for outcome in check_candidates(plan.candidates, trial, TimeLimit(0), exhaustive=True).outcomes:
        if outcome.failure or outcome.model is None or outcome.answers is None:
            print(f"left out: {outcome.candidate.id}: {outcome.failure}")
            continue
        runtime = find_runtime(outcome.candidate.runtime)
        options = dict(runtime.job_options(outcome.candidate, trial.threads))
        scores = score_row(outcome.answers, trial)
        rows.append(
            Row(outcome.candidate.id, True, runtime.engine_files, runtime.name, outcome.model, options, *scores)
        )
    return rows


def list_peers(trial: Trial, scratch: Path, bf16: bool, olive: Path | None) -> list[Row]:
    """The others, each run once over the evaluation samples."""
    rows = []
    for peer in make_peers(trial.ingested, scratch, bf16, olive):
        bundle = scratch / "answers" / peer.name.replace(" ", "-")
        job = make_job(peer.name, "peer", peer.model, dict(peer.options), trial, answer=True)
        files = {"engine.py": peer.engine}
        write_bundle(bundle, job, list_files(peer), trial.ingested.inputs, trial.latency_inputs, files)
        result = run_bundle(bundle, TIMEOUT_S)
        if result.answers is None:
            print(f"left out: {peer.name}: {result.failure}")
            continue
        scores = score_row(result.answers, trial)
        rows.append(Row(peer.name, False, files, "peer", peer.model, dict(peer.options), *scores))
    return rows


def list_files(peer: Peer | Row) -> list[Path]:
    return list(artifact_files(peer.model).values())


def score_row(answers: Path, trial: Trial) -> tuple[float, float]:
    """Mean cosine, and the lower end of the interval of the model's own metric."""
    source = trial.ingested.source
    reference = trial.ingested.answers
    cosine = score_answers("cosine", reference, answers, source.answer).value
    labels, names = trial.labels, source.info.labels
    return cosine, score_answers(trial.metric, reference, answers, source.answer, labels, names).low


def make_job(
    name: str, runtime: str, model: Path, options: dict[str, object], trial: Trial, *, answer: bool = False
) -> Job:
    efforts = tuple(Effort(warmup=5, min_calls=20, min_seconds=0.5, max_seconds=4.0) for _ in trial.cases)
    return Job(
        candidate=name,
        runtime=runtime,
        model=f"model/{model.name}",
        options=options,  # type: ignore[arg-type]
        threads=trial.threads,
        cases=() if answer else trial.cases,
        efforts=() if answer else efforts,
        outputs=(trial.ingested.source.answer,) if answer else (),
        answer=answer,
    )


def time_rows(rows: Sequence[Row], trial: Trial, scratch: Path, rounds: int) -> dict[str, Measurement | JobResult]:
    bundles = {}
    for row in rows:
        bundles[row.name] = scratch / "timing" / row.name.replace(" ", "-")
        job = make_job(row.name, row.runtime, row.model, row.options, trial)
        write_bundle(bundles[row.name], job, list_files(row), None, trial.latency_inputs, row.engine)
    return measure_bundles(bundles, rounds, TIMEOUT_S)


def show_table(
    model: BenchModel, rows: Sequence[Row], results: dict[str, Measurement | JobResult], cases: Sequence[ShapeCase]
) -> str:
    """p50 in milliseconds and the ratio to the baseline in each cell, then who is best at each bound."""
    timed = {row.name: result for row in rows if isinstance(result := results[row.name], Measurement)}
    p50 = {name: [latency.p50_ms for latency in m.latencies] for name, m in timed.items()}
    base = p50[BASELINE]
    names = [case.name for case in cases]
    lines = [
        f"| | {' | '.join(f'{name}, p50 ms (x)' for name in names)} | cosine | {model.metric}, lower end |",
        "|---" * (len(names) + 3) + "|",
    ]
    for row in rows:
        if row.name in p50:
            cells = [f"{ms:.2f} ({b / ms:.2f})" for ms, b in zip(p50[row.name], base, strict=True)]
            who = f"{'pack: ' if row.is_ours else ''}{row.name}"
            lines.append(f"| {who} | {' | '.join(cells)} | {row.cosine:.5f} | {row.judged:.3f} |")
    lines += ["", f"| best with | {' | '.join(names)} |", "|---" * (len(names) + 1) + "|"]
    lossless = [row for row in rows if row.name in p50 and row.cosine >= LOSSLESS]
    lossy = [row for row in rows if row.name in p50 and row.judged >= model.bound]
    for title, fit in ((f"cosine >= {LOSSLESS}", lossless), (f"{model.metric} >= {model.bound}, lower end", lossy)):
        cells = [show_best(fit, {name: ms[index] for name, ms in p50.items()}) for index in range(len(names))]
        lines.append(f"| {title} | {' | '.join(cells)} |")
    return "\n".join(lines)


def show_best(fit: Sequence[Row], p50_ms: dict[str, float]) -> str:
    """pack's best among the rows that `fit`, with its ratio to the baseline and to the best of the others."""
    best = {is_ours: find_best([row for row in fit if row.is_ours == is_ours], p50_ms) for is_ours in (True, False)}
    ours, other = best[True], best[False]
    if ours is None:
        return "none"
    text = f"{ours} {p50_ms[BASELINE] / p50_ms[ours]:.2f} x"
    return text if other is None else f"{text}; {p50_ms[other] / p50_ms[ours]:.2f} x the best other ({other})"


def find_best(rows: Sequence[Row], p50_ms: dict[str, float]) -> str | None:
    return min((row.name for row in rows), key=lambda name: p50_ms[name], default=None)


if __name__ == "__main__":
    main()
