"""Length handling through a real Triton: sentences a second over real traffic, against padding to a fixed length.

    python benchmarks/serving_lengths.py [examples/minilm/spec.toml] [--clients 8] [--rounds 3]

The baseline is what Triton's documentation leads to: the graph as exported, fp32, a tokenizer that pads to 128, and
what its onnxruntime backend fills into a configuration that says nothing: batches up to 4, dynamic batching, 2
instances on the CPU, each with as many threads as there are cores. Every way is loaded in a fresh server once a round,
one after the other. Ratios are of medians over the rounds.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from support.results import write_results

from packc.cache import Cache
from packc.driver.evaluate import Trial, check_candidate
from packc.driver.inputs import BuildInputs, gather_inputs, list_versions
from packc.driver.target import make_trial
from packc.host import probe_host
from packc.ingest.ingest import ingest_model
from packc.ingest.inspect import inspect_source
from packc.package.golden import make_golden
from packc.package.write import write_package
from packc.plan import make_plan
from packc.runtimes import find_runtime
from packc.samples import Sample, iter_samples
from packc.select import Outcome
from packc.server.environment import require_server
from packc.server.load import LoadResult, Traffic, run_load
from packc.server.process import start_server
from packc.server.requests import make_requests
from packc.serving.plan import ServingPlan
from packc.spec.read import read_spec
from packc.spec.resolve import resolve_targets

EXAMPLE = Path(__file__).resolve().parents[1] / "examples" / "minilm" / "spec.toml"
FIXED_LENGTH = 128
BASELINE = "as exported, padded to 128, Triton's defaults"


@dataclass(frozen=True, slots=True)
class Way:
    """One way to serve: a candidate and how it meets texts of different lengths."""

    candidate: str
    plan: ServingPlan


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("spec", type=Path, nargs="?", default=EXAMPLE)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    cache = Cache()
    spec = resolve_targets(read_spec(arguments.spec))[0]
    inputs = gather_inputs(spec, probe_host(), inspect_source(spec.model), verify=True)
    trial = make_trial(inputs, ingest_model(inputs.info, inputs.evaluation, inputs.calibration, cache), cache)
    ways = list_ways(trial.threads)
    offered = {candidate.id: candidate for candidate in make_plan(inputs.info, inputs.target, spec.optimize).candidates}
    ways = {name: way for name, way in ways.items() if way.candidate in offered}
    outcomes = {name: check_candidate(offered[name], trial) for name in {way.candidate for way in ways.values()}}
    requests = list(make_requests("text", inputs.traffic or inputs.evaluation, None))
    seen: dict[str, list[LoadResult]] = {name: [] for name in ways}
    with tempfile.TemporaryDirectory(prefix="pack-lengths-") as scratch:
        for i, way in enumerate(ways.values()):
            package(Path(scratch, str(i)), inputs, trial, outcomes[way.candidate], way.plan)
        pad_to_fixed_length(Path(scratch, "0"), inputs.spec.model.name)
        for number in range(arguments.rounds):
            for i, name in enumerate(ways):
                figures = load(Path(scratch, str(i)), inputs.spec.model.name, requests, arguments.clients, cache)
                seen[name].append(figures)
                print(f"round {number + 1}: {name}: {figures.samples_per_s:.0f} sentences/s", flush=True)
    body = make_table(seen, {name: outcomes[way.candidate] for name, way in ways.items()})
    write_results(
        "serving_lengths",
        f"Length handling through a real Triton, {arguments.clients} clients",
        "python benchmarks/serving_lengths.py",
        body,
        f"Triton ({require_server(cache).origin})",
    )


def list_ways(cores: int) -> dict[str, Way]:
    """The baseline first. The others have one instance of one thread a core."""
    ensemble = ServingPlan(cores, 1, 16, 0, ())
    ways = {BASELINE: Way("onnxruntime-fp32", ServingPlan(2, 0, 4, 0, ()))}
    for candidate in ("onnxruntime-fp32-fused", "onnxruntime-int8-dynamic-smooth"):
        ways[f"{candidate}, ensemble"] = Way(candidate, ensemble)
        for lengths in ("single", "sorted"):
            plan = ServingPlan(cores, 1, 16, 0, (), front="in_process", lengths=lengths)
            ways[f"{candidate}, in process, {lengths}"] = Way(candidate, plan)
    for candidate in ("onnxruntime-fp32-packed", "onnxruntime-int8-dynamic-smooth-packed"):
        plan = ServingPlan(cores, 1, 16, 0, (), front="in_process", lengths="pad")
        ways[f"{candidate}, in process, pad"] = Way(candidate, plan)
    for candidate in ("openvino-bf16", "openvino-int8"):
        for instances, threads in ((1, cores), (cores, 1)):
            plan = ServingPlan(instances, threads, 16, 0, (), front="in_process", lengths="sorted", length_multiple=16)
            ways[f"{candidate}, in process, sorted, {instances} x {threads} threads"] = Way(candidate, plan)
    return ways


def package(folder: Path, inputs: BuildInputs, trial: Trial, outcome: Outcome, plan: ServingPlan) -> None:
    """Writes the package of one way."""
    assert outcome.model is not None, outcome.failure
    assert outcome.answers is not None
    ingested = trial.ingested
    folder.mkdir()
    write_package(
        folder,
        spec=inputs.spec,
        source=ingested.source,
        model=outcome.model,
        candidate=outcome.candidate,
        runtime=find_runtime(outcome.candidate.runtime),
        serving=plan,
        warmup=list(islice(iter_samples(ingested.inputs), 32)),
        golden=make_golden(
            "text", ingested.source, inputs.evaluation, ingested.inputs, outcome.answers, ingested.answers
        ),
        versions=list_versions(),
    )


def pad_to_fixed_length(folder: Path, model: str) -> None:
    """Has the tokenizer of a package pad and cut every text to FIXED_LENGTH."""
    path = folder / "model_repository" / f"{model}-tokenizer" / "1" / "model.py"
    text = path.read_text()
    changed = text.replace("enable_padding(", f"enable_padding(length={FIXED_LENGTH}, ")
    changed = changed.replace("enable_truncation(MAX_LENGTH)", f"enable_truncation({FIXED_LENGTH})")
    assert changed.count(str(FIXED_LENGTH)) >= text.count(str(FIXED_LENGTH)) + 2, "the tokenizer's source has changed"
    path.write_text(changed)


def load(folder: Path, model: str, requests: Sequence[Sample], clients: int, cache: Cache) -> LoadResult:
    """Figures of one round on a fresh server."""
    with start_server(require_server(cache), folder / "model_repository", cache=cache) as server:
        return run_load(server.http_url, model, requests, Traffic(clients), min_seconds=4.0, max_seconds=12.0)


def make_table(seen: dict[str, list[LoadResult]], outcomes: dict[str, Outcome]) -> str:
    medians = {name: statistics.median(f.samples_per_s for f in rounds) for name, rounds in seen.items()}
    lines = [
        "| way | agreement with the source | sentences/s (rounds) | p50 ms | p99 ms | x baseline |",
        "|---|---|---|---|---|---|",
    ]
    for name, rounds in seen.items():
        quality = outcomes[name].quality
        p50, p99 = (statistics.median(f.percentile_ms(q) for f in rounds) for q in (50, 99))
        each = ", ".join(f"{figures.samples_per_s:.0f}" for figures in rounds)
        score = f"{quality.value:.3f}" if quality else "-"
        ratio = medians[name] / medians[BASELINE]
        lines.append(f"| {name} | {score} | {medians[name]:.0f} ({each}) | {p50:.1f} | {p99:.1f} | {ratio:.2f} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
