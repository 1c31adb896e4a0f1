"""The chosen serving plan against the plan that the workload alone suggests, and predictions against served figures.

    python benchmarks/serving_search.py [examples/minilm/spec.toml] [--clients 8] [--goal throughput] [--rounds 4]

The device is that of the spec's first target and has to be here. Both plans are packaged and loaded in a real server in
turns, with the same requests, which a GPU has seen before they count. The ratio is of the best rounds: noise of the
machine only ever makes a round slower.
"""

from __future__ import annotations

import argparse
import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

from packc.cache import Cache
from packc.driver.endings import BuildOptions
from packc.driver.halving import search_candidates
from packc.driver.inputs import gather_inputs
from packc.driver.packing import Packing, pack_candidate
from packc.driver.target import make_trial
from packc.driver.ways import Service, WayFinder
from packc.ingest.ingest import ingest_model
from packc.ingest.inspect import inspect_source
from packc.package.pipelines.choice import choose_pipeline
from packc.plan import make_plan
from packc.search import TimeLimit
from packc.select import Outcome, select
from packc.server.load import Traffic
from packc.server.probe import probe_package
from packc.serving.plan import describe_plan, plan_serving
from packc.serving.queue import LoadFigures
from packc.spec.model import TargetSpec
from packc.spec.optimize import Goal
from packc.spec.read import read_spec
from packc.spec.resolve import resolve_targets
from packc.target_profiles import find_target

EXAMPLE = Path(__file__).resolve().parents[1] / "examples" / "minilm" / "spec.toml"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("spec", type=Path, nargs="?", default=EXAMPLE)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--goal", choices=("latency", "throughput"), default="throughput")
    parser.add_argument("--rounds", type=int, default=4)
    arguments = parser.parse_args()
    spec = narrow(resolve_targets(read_spec(arguments.spec))[0], arguments.clients, arguments.goal)
    packing, chosen = prepare(spec, arguments.spec.parent)
    service = WayFinder(packing).choose(chosen, packing.findings.outcomes)
    print_tried(service, spec.budget.percentile)
    rule = Service(chosen, packing.rule, ())
    if service.outcome is chosen and describe_plan(service.plan) == describe_plan(packing.rule):
        print("\nthe plan that the workload suggests was chosen: there is nothing to compare")
        return
    seen: dict[str, list[LoadFigures]] = {"rule": [], "chosen": []}
    for _ in range(arguments.rounds):
        for name, way in (("rule", rule), ("chosen", service)):
            seen[name].append(measure(packing, way))
    print("\n| plan | samples/s, best (all rounds) | p50 ms | p99 ms |\n|---|---|---|---|")
    for name, way in (("rule", rule), ("chosen", service)):
        print(f"| {name}: {way.outcome.candidate.id}, {describe_plan(way.plan)} {describe(seen[name])}")
    best = {name: max(figures.throughput_per_s for figures in rounds) for name, rounds in seen.items()}
    p50 = {name: min(figures.p50_ms for figures in rounds) for name, rounds in seen.items()}
    print(f"\nchosen / rule: throughput x {best['chosen'] / best['rule']:.2f}, p50 x {p50['chosen'] / p50['rule']:.2f}")


def narrow(spec: TargetSpec, clients: int, goal: Goal) -> TargetSpec:
    workload = spec.workload.model_copy(update={"concurrency": clients, "rate_per_s": 0.0})
    return spec.model_copy(update={"workload": workload, "optimize": spec.optimize.model_copy(update={"goal": goal})})


def prepare(spec: TargetSpec, base: Path) -> tuple[Packing, Outcome]:
    """What a build knows before it packages, and the selection's choice."""
    cache, options = Cache(), BuildOptions()
    inputs = gather_inputs(spec, find_target(spec.profile, base), inspect_source(spec.model), verify=True)
    plan = make_plan(inputs.info, inputs.target, spec.optimize)
    ingested = ingest_model(inputs.info, inputs.evaluation, inputs.calibration, cache)
    trial = make_trial(inputs, ingested, cache, verify=True)
    outcomes = search_candidates(plan.candidates, trial).outcomes
    findings = inputs.make_findings(outcomes, plan.rejected)
    rule = plan_serving(spec, inputs.target, ingested.source)
    pipeline = choose_pipeline(spec.serve.pipeline, inputs.info)
    packing = Packing(inputs, trial, findings, rule, pipeline, options, TimeLimit(0.0))
    verdict = select(outcomes, trial.local_spec, inputs.evaluation.is_generated)
    return packing, next(outcome for outcome in outcomes if outcome.candidate.id == verdict.chosen)


@contextlib.contextmanager
def packed(packing: Packing, way: Service) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="pack-benchmark-") as folder:
        pack_candidate(packing, way.outcome, way.plan, Path(folder))
        yield Path(folder)


def measure(packing: Packing, way: Service) -> LoadFigures:
    """A few seconds of the workload's load on a server of its own."""
    spec = packing.inputs.spec
    with (
        packed(packing, way) as package,
        probe_package(
            package,
            spec.model.name,
            spec.workload.batch.typical,
            evaluation=packing.evaluation,
            traffic_data=packing.inputs.traffic,
            warm_instances=way.plan.instances if packing.inputs.target.kind != "cpu" else 0,
            cache=packing.trial.cache,
        ) as probe,
    ):
        load = probe(Traffic(spec.workload.concurrency))
    return LoadFigures(load.samples_per_s, load.percentile_ms(50), load.percentile_ms(99))


def print_tried(service: Service, percentile: float) -> None:
    print(f"| candidate, plan | samples/s predicted | served | ratio | p50 ms predicted | served | p{percentile:g} ms "
          "predicted | served |\n|---|---|---|---|---|---|---|---|")  # fmt: skip
    for item in service.tried:
        p, s = item.predicted, item.served
        name = f"{item.way.candidate}, {describe_plan(item.way.plan)}{' (fitted)' if item.is_fitted else ''}"
        if p and s:
            ratio = p.throughput_per_s / s.throughput_per_s
            print(
                f"| {name} | {p.throughput_per_s:.0f} | {s.throughput_per_s:.0f} | {ratio:.2f} | {p.p50_ms:.1f} "
                f"| {s.p50_ms:.1f} | {p.latency_ms:.1f} | {s.latency_ms:.1f} |"
            )
        else:
            print(f"| {name} | {item.failure or 'no curve'} |")


def describe(rounds: list[LoadFigures]) -> str:
    every = ", ".join(f"{figures.throughput_per_s:.0f}" for figures in rounds)
    best = max(figures.throughput_per_s for figures in rounds)
    return f"| {best:.0f} ({every}) | {min(f.p50_ms for f in rounds):.1f} | {min(f.latency_ms for f in rounds):.1f} |"


if __name__ == "__main__":
    main()
