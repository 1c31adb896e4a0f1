"""The search against an exhaustive one: how much time it takes of the other's, and how near its choice comes.

    python benchmarks/search.py [minilm] [vit-small] [--runs 3]

Both start from the same exported graph, the same reference answers and the same measured peaks, and from nothing else:
they share no lowered graph and no measurement. The exhaustive one builds every candidate that pack knows for the model
and the machine, those too that a plan holds back until the spec names their runtime, judges each on all samples, and
times all that keep the quality bound in long rounds. They run in turns. Speeds are compared on the exhaustive runs' own
figures, in which both choices were timed side by side.
"""

from __future__ import annotations

import argparse
import logging
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from support.models import MODELS, BenchModel, make_vit_small
from support.results import write_results

from packc.cache import Cache
from packc.driver.halving import Search, search_candidates
from packc.driver.inputs import BuildInputs, gather_inputs
from packc.driver.limits import find_roofline
from packc.driver.target import make_trial
from packc.ingest.ingest import Ingested, ingest_model
from packc.ingest.inspect import inspect_source
from packc.plan import make_plan
from packc.promises import describe_score, format_figure
from packc.runtimes import RUNTIMES
from packc.search import order_candidates
from packc.select import Outcome, select
from packc.spec.read import read_spec
from packc.spec.resolve import resolve_targets
from packc.target_profiles import find_target

SHARED = ("export", "answers", "images", "tensors", "latency", "work", "peak")
"""Kinds of cache entries that both searches start from."""
BENCHED = {
    "minilm": MODELS["minilm"],
    "vit-small": BenchModel(
        "vit-small", "image-classification", make_vit_small, ((1, None), (8, None)), "cosine", 0.95, "random"
    ),
}
SPEC = """
[model]
name = "{name}"
source = "{source}"
task = "{task}"

[workload]
batch = {{ typical = {batch}, max = {largest} }}
{sequence}
{data}
[targets.cpu]
profile = "host"
"""


@dataclass(frozen=True, slots=True)
class Run:
    """One search."""

    search: Search
    seconds: float
    chosen: str

    def find_p50_ms(self, candidate: str) -> float:
        """Of its long timing."""
        outcome = next(outcome for outcome in self.search.outcomes if outcome.candidate.id == candidate)
        assert outcome.measurement is not None, f"{candidate} was not timed"
        return outcome.measurement.latencies[0].p50_ms


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="*", choices=[[], *BENCHED], metavar="MODEL")
    parser.add_argument("--runs", type=int, default=3)
    arguments = parser.parse_args()
    for name in arguments.models or BENCHED:
        with tempfile.TemporaryDirectory(prefix="pack-search-") as folder:
            body = compare(BENCHED[name], arguments.runs, Path(folder))
        title = f"The search against an exhaustive one: {name}, {BENCHED[name].weights} weights"
        write_results(f"search-{name}", title, f"python benchmarks/search.py {name} --runs {arguments.runs}", body)


def compare(model: BenchModel, runs: int, scratch: Path) -> str:
    """The tables of one model, as Markdown."""
    inputs = read_inputs(model, scratch)
    find_roofline(make_trial(inputs, ingest(inputs, Cache()), Cache()), inputs.target)  # nor is that part of a run
    whole, halved = [], []
    for number in range(runs):
        whole.append(run_search(inputs, scratch / f"whole-{number}", exhaustive=True))
        halved.append(run_search(inputs, scratch / f"halved-{number}", exhaustive=False))
    return describe(whole, halved)


def read_inputs(model: BenchModel, scratch: Path) -> BuildInputs:
    """The first of the model's shapes is the typical one, the last the largest."""
    (batch, tokens), (largest, most) = model.shapes[0], model.shapes[-1]
    data = model.data() or f'[quality]\nmetric = "{model.metric}"\nmin = {model.bound}\n'
    sequence = f"sequence = {{ typical = {tokens}, max = {most} }}" if tokens else ""
    path = scratch / "spec.toml"
    path.write_text(
        SPEC.format(
            name=model.name,
            source=model.find(),
            task=model.task,
            batch=batch,
            largest=largest,
            sequence=sequence,
            data=data,
        )
    )
    target = resolve_targets(read_spec(path))[0]
    return gather_inputs(target, find_target("host", scratch), inspect_source(target.model), verify=False)


def ingest(inputs: BuildInputs, cache: Cache) -> Ingested:
    return ingest_model(inputs.info, inputs.evaluation, inputs.calibration, cache)


def run_search(inputs: BuildInputs, folder: Path, *, exhaustive: bool) -> Run:
    """A search in a cache that has only what both start from."""
    folder.mkdir()
    for kind in SHARED:
        (Cache().root / kind).mkdir(exist_ok=True)
        (folder / kind).symlink_to(Cache().root / kind)
    cache = Cache(folder)
    trial = make_trial(inputs, ingest(inputs, cache), cache)
    roofline = find_roofline(trial, inputs.target)
    everything = inputs.spec.optimize.model_copy(update={"runtimes": tuple(runtime.name for runtime in RUNTIMES)})
    plan = make_plan(inputs.info, inputs.target, everything if exhaustive else inputs.spec.optimize)
    candidates = plan.candidates if exhaustive else order_candidates(plan.candidates, roofline)
    start_s = time.perf_counter()
    search = search_candidates(candidates, replace(trial, roofline=roofline), exhaustive=exhaustive)
    seconds = time.perf_counter() - start_s
    verdict = select(search.outcomes, inputs.spec, inputs.evaluation.is_generated)
    if verdict.chosen is None:
        raise SystemExit(f"nothing was chosen: {verdict.reasons}")
    return Run(search, seconds, verdict.chosen)


def describe(whole: Sequence[Run], halved: Sequence[Run]) -> str:
    """The time of each run, the choices, and what the search did not look at."""
    lines = ["| run | exhaustive, s | search, s | ratio | exhaustive's choice | search's choice | p50, ratio |"]
    lines += ["|---|---|---|---|---|---|---|"]
    for number, (one, other) in enumerate(zip(whole, halved, strict=True), start=1):
        speed = one.find_p50_ms(other.chosen) / one.find_p50_ms(one.chosen)
        lines.append(
            f"| {number} | {one.seconds:.0f} | {other.seconds:.0f} | {other.seconds / one.seconds:.2f} "
            f"| {one.chosen} | {other.chosen} | {speed:.3f} |"
        )
    spent = [statistics.median(run.seconds for run in runs) for runs in (whole, halved)]
    best = statistics.median(run.find_p50_ms(run.chosen) for run in whole)
    reached = statistics.median(one.find_p50_ms(other.chosen) for one, other in zip(whole, halved, strict=True))
    lines += [
        "",
        f"search / exhaustive: time x {spent[1] / spent[0]:.2f} (medians), p50 of the choice x {reached / best:.3f}",
    ]
    lines += ["", "What the search did with each candidate in its last run:", ""]
    lines += [f"- {outcome.candidate.id}: {_describe_outcome(outcome)}" for outcome in halved[-1].search.outcomes]
    lines += [f"- {item.what}: {item.reason}" for item in halved[-1].search.skipped]
    return "\n".join(lines) + "\n"


def _describe_outcome(outcome: Outcome) -> str:
    """How far it came, with its figure."""
    if outcome.failure or outcome.measurement is None:
        return f"failed: {outcome.failure}"
    p50 = f"p50 {format_figure(outcome.measurement.latencies[0].p50_ms)} ms"
    if not outcome.is_rough:
        return f"timed for long, {p50}"
    assert outcome.quality is not None
    return f"no long timing, {describe_score(outcome.quality)}, {p50} in a few calls"


if __name__ == "__main__":
    main()
