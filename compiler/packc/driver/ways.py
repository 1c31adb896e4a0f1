"""Finds out how to serve: curves for the few best candidates, predictions for every plan, a real server for a few."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from packc.data.workload import list_request_lengths
from packc.driver.curves import find_curve
from packc.driver.packing import ONE_FAILED, Packing, pack_candidate
from packc.host import count_cores
from packc.measure.curve import ServiceCurve
from packc.package.pipelines.batches import cut_batches
from packc.package.pipelines.choice import ChosenPipeline
from packc.runtimes import find_runtime
from packc.runtimes.runtime import GRAPH_OPTION
from packc.select import Outcome, classify, goal_figure
from packc.server.load import Traffic
from packc.server.probe import probe_package
from packc.serving.choices import Split, describe_queue, fits_memory, list_batches, list_plans, list_splits
from packc.serving.limit import KeptLoad, find_kept_load, guess_kept_load
from packc.serving.plan import Front, Lengths, ServingPlan, describe_plan
from packc.serving.queue import Batching, Load, LoadFigures, ServiceTimes
from packc.serving.reasons import describe_figures, explain_way
from packc.serving.search import Ground, Tried, Way, choose_tried, find_cost, predict_way, search_plans

log = logging.getLogger(__name__)

MOST_RIVALS = 2
FRONTS: Mapping[ChosenPipeline, tuple[Front, ...]] = {
    "text": ("ensemble", "in_process"),
    "image": ("ensemble",),
    "none": ("ensemble",),
}
NEAR = 1.5
"""A candidate this many times as slow (large, dear) as the selection's choice cannot make up for it as served."""


@dataclass(frozen=True, slots=True)
class Service:
    """The candidate and the plan to package, and what was tried before."""

    outcome: Outcome
    plan: ServingPlan
    tried: tuple[Tried, ...]
    is_cut: bool = False
    """Whether the time was over, so that no further plan was tried."""


class WayFinder:
    """Knows the ways to serve one target's candidates, and remembers what was measured of them."""

    def __init__(self, packing: Packing) -> None:
        self._packing = packing
        inputs, trial = packing.inputs, packing.trial
        spec, source = inputs.spec, trial.ingested.source
        self._spec = spec
        self._rule = replace(packing.rule, reasons=())
        self._splits = list_splits(spec, inputs.target, source)
        self._plans = list_plans(spec, inputs.target, source, packing.rule, FRONTS[packing.pipeline])
        self._batches = list_batches(spec, packing.rule)
        self._lengths = list_request_lengths(spec, trial.ingested.inputs, inputs.info, inputs.traffic)
        self._load = Load(
            spec.workload.concurrency, spec.workload.rate_per_s, spec.workload.batch.typical, self._lengths
        )
        self._curves: dict[tuple[str, Split], ServiceCurve | None] = {}
        self._times: dict[tuple[str, Split], ServiceTimes] = {}
        self._outcomes: dict[str, Outcome] = {}
        self._tried: tuple[Tried, ...] = ()

    def choose(self, chosen: Outcome, rivals: Sequence[Outcome]) -> Service:
        """The best way to serve `chosen`, or one of the `rivals` that nearly equals it for one caller.

        Without any choice to make, with a server that runs already and was loaded by somebody else, and where the
        device is not here to measure curves on, it is the rule.
        """
        if self._packing.options.urls or len(self._plans) < 2 or not self._packing.trial.is_here:
            return Service(chosen, self._packing.rule, ())
        finalists = [chosen, *_list_near(chosen, rivals, self._packing)]
        self._outcomes |= {outcome.candidate.id: outcome for outcome in finalists}
        names = [outcome.candidate.id for outcome in finalists]
        self._tried = search_plans(names, self._rule, self._ground(), self._tried)
        now = tuple(item for item in self._tried if item.way.candidate in names)
        best = choose_tried(now, self._spec)
        if best is None:
            return Service(chosen, self._packing.rule, self._tried, self._packing.limit.is_over)
        candidate, percentile = best.way.candidate, self._spec.budget.percentile
        reasons = explain_way(best, now, self._packing.rule, percentile, self._find_instance_mib(candidate))
        plan = replace(best.way.plan, reasons=reasons)
        return Service(self._outcomes[candidate], plan, self._tried, self._packing.limit.is_over)

    def find_kept_load(self, outcome: Outcome, plan: ServingPlan) -> KeptLoad | None:
        """The largest load below the workload's at which the server keeps the latency budget; None where none does."""
        way, ground = Way(outcome.candidate.id, plan), self._ground()
        self._outcomes[outcome.candidate.id] = outcome
        costs = [cost for item in self._tried if (cost := find_cost(item, ground))]
        workload, budget = self._spec.workload, self._spec.budget
        counts = not workload.rate_per_s
        missed_at = float(workload.concurrency) if counts else workload.rate_per_s
        if counts and missed_at <= 1:
            return None

        def predict(load: float) -> LoadFigures | None:
            return predict_way(way, ground, costs, self._scale(load))

        guess = guess_kept_load(predict, missed_at, budget.latency_ms, counts=counts)
        with self._open(outcome, plan) as probe:
            return find_kept_load(
                lambda load: probe(self._scale(load)), missed_at, guess, budget.latency_ms, counts=counts
            )

    def _scale(self, load: float) -> Load:
        if self._load.rate_per_s:
            return replace(self._load, rate_per_s=load)
        return replace(self._load, clients=int(load))

    def _ground(self) -> Ground:
        return Ground(
            spec=self._spec,
            cores=self._count_cores(),
            load=self._load,
            plans=self._list_plans,
            times=self._find_times,
            batching=self._describe,
            serve=self._serve if self._packing.options.verify else None,
            is_over=lambda: self._packing.limit.is_over,
        )

    def _count_cores(self) -> int:
        """Those that requests are read, tokenized and sent by: the host's, whatever computes the model."""
        target = self._packing.inputs.target
        return target.units if target.kind == "cpu" else count_cores()

    def _find_times(self, way: Way) -> ServiceTimes | None:
        """Of the plan's instances all at work; on a GPU, also of fewer of them. None where a curve is missing."""
        shares = self._list_shares(way.plan)
        key = (way.candidate, shares[-1])
        if key not in self._times:
            curves = [curve for share in shares if (curve := self._find_curve(way.candidate, share)) is not None]
            if len(curves) < len(shares):
                return None
            self._times[key] = ServiceTimes(*curves)
        return self._times[key]

    def _list_shares(self, plan: ServingPlan) -> tuple[Split, ...]:
        """The splits whose curves tell what calls of the plan's instances take; the last one has them all at work."""
        alike = [replace(s, cuda_graphs=plan.cuda_graphs) for s in self._splits if s.threads == plan.threads]
        if self._packing.inputs.target.kind == "cpu":
            return tuple(alike) or (Split(plan.instances, plan.threads),)
        return tuple(split for split in alike if split.instances <= plan.instances)

    def _find_curve(self, candidate: str, split: Split) -> ServiceCurve | None:
        key = (candidate, split)
        if key not in self._curves:
            if self._packing.limit.is_over:
                return None
            outcome = self._outcomes[candidate]
            self._curves[key] = find_curve(outcome, split, self._batches, self._lengths, self._packing.trial)
        return self._curves[key]

    def _list_plans(self, candidate: str) -> list[ServingPlan]:
        """Those that there is memory for, and whose graphs the engine can leave out where they do.

        A graph that skips padding takes all texts in one call; for others, neighbours in length share one. On a GPU,
        where a call may cost more than padding, the plans have both.
        """
        target, built = self._packing.inputs.target, self._outcomes[candidate].candidate
        runtime = find_runtime(built.runtime)
        records = bool(runtime.job_options(built, target.session_threads).get(GRAPH_OPTION))
        lengths: list[Lengths] = ["pad"] if self._skips_padding(candidate) else ["sorted"]
        if target.kind != "cpu" and "pad" not in lengths:
            lengths.append("pad")
        plans = []
        for plan in self._plans:
            if not (plan.cuda_graphs or records) or not self._has_room(candidate, plan):
                continue
            if plan.instances > 1 and runtime.builds_to_load:
                continue
            if plan.front == "in_process":
                multiple = runtime.length_multiple
                plans += [replace(plan, lengths=policy, length_multiple=multiple) for policy in lengths]
            else:
                plans.append(plan)
        return plans

    def find_known_mib(self, outcome: Outcome) -> float | None:
        """The most that one instance was measured to take of a GPU's memory, without measuring it now."""
        if self._packing.inputs.target.kind == "cpu":
            return None
        curves = [curve for (candidate, _), curve in self._curves.items() if candidate == outcome.candidate.id]
        taken = [item.device_memory_mib for item in (outcome.measurement, *curves) if item]
        return max((mib for mib in taken if mib is not None), default=None)

    def _has_room(self, candidate: str, plan: ServingPlan) -> bool:
        target, budget = self._packing.inputs.target, self._spec.budget
        return fits_memory(plan.instances, self._find_instance_mib(candidate), budget, target)

    def _find_instance_mib(self, candidate: str) -> float | None:
        """The most that one instance was measured to take of a GPU's memory; None on a CPU, and where nobody knows.

        CUDA graphs of the many shapes of its curve take more than those that it was timed at.
        """
        if self._packing.inputs.target.kind == "cpu":
            return None
        measurement, curve = self._outcomes[candidate].measurement, self._find_curve(candidate, self._splits[0])
        return max((m.device_memory_mib or 0.0 for m in (measurement, curve) if m), default=0.0) or None

    def _skips_padding(self, candidate: str) -> bool:
        return any(step.name == "remove_padding" for step in self._outcomes[candidate].candidate.passes)

    def _describe(self, way: Way) -> Batching:
        plan = way.plan
        cut = partial(cut_batches, policy=plan.lengths, token_budget=plan.token_budget, multiple=plan.length_multiple)
        is_fed = self._packing.inputs.target.kind != "cpu"
        return describe_queue(plan, skips_padding=self._skips_padding(way.candidate), cut=cut, is_fed=is_fed)

    def _serve(self, way: Way) -> LoadFigures | str:
        try:
            with self._open(self._outcomes[way.candidate], way.plan) as probe:
                figures = probe(self._load)
        except ONE_FAILED as error:
            return " ".join(str(error).split())
        log.info(
            "%s as %s: %s",
            way.candidate,
            describe_plan(way.plan),
            describe_figures(figures, self._spec.budget.percentile),
        )
        return figures

    @contextmanager
    def _open(self, outcome: Outcome, plan: ServingPlan) -> Iterator[Callable[[Load], LoadFigures]]:
        """Starts a server with the candidate's package; what is yielded measures it under a load."""
        packing, percentile = self._packing, self._spec.budget.percentile
        with TemporaryDirectory(prefix="pack-way-") as folder:
            pack_candidate(packing, outcome, plan, Path(folder))
            with probe_package(
                Path(folder),
                self._spec.model.name,
                self._load.batch,
                evaluation=packing.evaluation,
                traffic_data=packing.inputs.traffic,
                warm_instances=plan.instances if packing.inputs.target.kind != "cpu" else 0,
                cache=packing.trial.cache,
            ) as probe:

                def measure(load: Load) -> LoadFigures:
                    seen = probe(Traffic(load.clients, load.rate_per_s))
                    return LoadFigures(seen.samples_per_s, seen.percentile_ms(50), seen.percentile_ms(percentile))

                yield measure


def _list_near(chosen: Outcome, rivals: Sequence[Outcome], packing: Packing) -> list[Outcome]:
    """Those that keep every promise too and are near the choice for one caller; none where size decides."""
    spec, goal = packing.findings.local_spec, packing.inputs.spec.optimize.goal
    if goal == "size" or classify(chosen, spec) != "kept":
        return []
    limit = NEAR * goal_figure(chosen, goal)
    near = [o for o in rivals if o is not chosen and classify(o, spec) == "kept" and goal_figure(o, goal) <= limit]
    return sorted(near, key=lambda outcome: goal_figure(outcome, goal))[:MOST_RIVALS]
