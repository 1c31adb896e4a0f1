"""Mixed precision: where the int8 recipes of a runtime miss the quality bound, the least of them in a higher one.

Layers are ranked by how much error they bring for their cost, measured on calibration data. The first k of them stay
out of quantization, and k is found by asking the quality gate. packc.driver.halving asks for proposals until there are
none: the next one depends only on what became of the candidates so far.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import accumulate, takewhile

from packc.candidate import Candidate, OptionValue, PassStep
from packc.driver.evaluate import Trial
from packc.errors import PackError
from packc.passes.lower import lower_graph
from packc.passes.measure_sensitivity import measure_sensitivity
from packc.passes.sensitivity import Sensitivity, predict_errors, rank_layers
from packc.quality.gate import judge_score, measure_headroom
from packc.select import Outcome

log = logging.getLogger(__name__)

MIXED = "-int8-mixed-"
MOST_CHECKS = 5
"""Mixed candidates of one runtime whose answers are judged at most."""
WORTHWHILE = 0.02
"""A smaller share of the multiply-adds less in higher precision is not worth another check."""
AIM = 0.95
"""Of the error that would just do by interpolation: the first guess shall rather keep the bound than miss it."""
QUANTIZE = "quantize_dynamic"
SMOOTH = PassStep("smooth_outliers")


def propose_mixed(outcomes: Sequence[Outcome], trial: Trial) -> list[Candidate]:
    """The next mixed candidate of each runtime whose plain int8 recipes all missed the bound; empty when done."""
    proposed = []
    for runtime in dict.fromkeys(outcome.candidate.runtime for outcome in outcomes):
        own = [outcome for outcome in outcomes if outcome.candidate.runtime == runtime]
        base = choose_base(own, trial)
        if base is None or (ceiling := _find_ceiling(base, own, trial)) <= 0:
            continue
        if (sensitivity := measure_base(base, trial)) is None:
            continue
        ranked = rank_layers(sensitivity.layers)
        costs = [0.0, *accumulate(layer.cost_share for layer in ranked)]
        count = choose_count(predict_errors(ranked), costs, _read_margins(base, own, trial), ceiling)
        if count is not None:
            names = tuple(layer.name for layer in ranked[:count])
            log.info("%s: %d layers, %.0f %% of the work, stay in higher precision", runtime, count, 100 * costs[count])
            proposed.append(keep_layers(base.candidate, names))
    return proposed


def choose_base(outcomes: Sequence[Outcome], trial: Trial) -> Outcome | None:
    """The plain int8 candidate to mend: of those as near to the bound as the nearest one, the fastest.

    None where one keeps the bound already, and where none is of a kind that can leave layers out.
    """
    plain = [o for o in outcomes if o.quality is not None and is_plain(o.candidate)]
    margins = {id(outcome): _margin(outcome, trial) for outcome in plain}
    if not plain or max(margins.values()) >= 0:
        return None
    nearest = max(plain, key=lambda outcome: margins[id(outcome)])
    assert nearest.quality is not None
    doubt = (nearest.quality.high - nearest.quality.low) / 2
    alike = [outcome for outcome in plain if margins[id(outcome)] >= margins[id(nearest)] - doubt]
    return min(alike, key=lambda o: o.measurement.latencies[0].p50_ms if o.measurement else float("inf"))


def is_plain(candidate: Candidate) -> bool:
    """Whether it quantizes the activations of all linear layers of the model itself, and could leave some out."""
    step = find_quantizer(candidate)
    return candidate.source == "model" and step is not None and not step.options.get("exclude")


def keep_layers(base: Candidate, names: tuple[str, ...]) -> Candidate:
    """`base` with the named layers left out of quantization."""

    def exclude(step: PassStep) -> PassStep:
        return PassStep(step.name, {**step.options, "exclude": names})

    changed = find_quantizer(base)
    passes = tuple(exclude(step) if step is changed else step for step in base.passes)
    build = exclude(base.build) if base.build is not None and base.build is changed else base.build
    return replace(base, id=f"{base.runtime}{MIXED}{len(names)}", passes=passes, build=build)


def list_kept(candidate: Candidate) -> tuple[str, ...]:
    """Names of the layers that a mixed candidate keeps in higher precision; of another one, none."""
    step = find_quantizer(candidate)
    names = step.options.get("exclude", ()) if step else ()
    return names if isinstance(names, tuple) else ()


def choose_count(
    errors: Sequence[float], costs: Sequence[float], tried: Mapping[int, float], ceiling: float
) -> int | None:
    """How many layers to keep next; None when the best number is known well enough.

    `errors[k]` and `costs[k]`: predicted error, and share of the work in higher precision, with k layers kept, for k
    from 0 to all of them. `tried`: k -> distance to the bound, negative where it was missed; 0 is always in it.
    `ceiling`: that distance without any quantization. Interpolates in the error, which the metric follows closely.
    """
    everything = len(errors) - 1
    kept = min((count for count, margin in tried.items() if margin >= 0), default=everything)
    missed = max(count for count, margin in tried.items() if margin < 0 and count < kept)
    if len(tried) > MOST_CHECKS or kept - missed <= 1:
        return None
    if kept in tried and costs[kept] - costs[missed + 1] < WORTHWHILE:
        return None
    high, low = tried.get(kept, ceiling), tried[missed]
    if kept == everything and len(tried) > 2:
        wanted = errors[missed] / 2  # the interpolation guessed too high twice
    else:
        wanted = AIM * (errors[missed] - (errors[missed] - errors[kept]) * -low / (high - low))
    enough = len(list(takewhile(lambda error: error > wanted, errors)))
    return min(max(enough, missed + 1), kept - 1)


def find_quantizer(candidate: Candidate) -> PassStep | None:
    """The step of a candidate that quantizes activations and takes names of layers to leave out."""
    if candidate.build is not None and candidate.build.options.get("quantize") == "full":
        return candidate.build
    return next((step for step in candidate.passes if step.name == QUANTIZE), None)


def measure_base(base: Outcome, trial: Trial) -> Sensitivity | None:
    """The sensitivity of the graph in front of the quantization; None, with a line in the log, where that fails."""
    candidate, ingested = base.candidate, trial.ingested
    changed = find_quantizer(candidate)
    assert changed is not None
    steps = tuple(takewhile(lambda step: step is not changed, candidate.passes))
    options: dict[str, OptionValue] = dict(changed.options)
    if changed is candidate.build:  # a compiler smooths on its own; the options of its int8 are of another kind
        steps = (*steps, SMOOTH)
        options = {"reduce_range": bool(changed.options.get("overflow_fix"))}
    try:
        graph = lower_graph(ingested.source, steps, ingested.calibration, trial.cache)
        return measure_sensitivity(
            graph.model,
            ingested.source.answer,
            ingested.calibration,
            options,
            trial.threads,
            trial.device,
            trial.cache,
            reused=f"{candidate.id}: sensitivity of its layers measured before",
        )
    except PackError as error:
        log.info("%s: no mixed precision: %s", candidate.id, error)
        return None


def _read_margins(base: Outcome, own: Sequence[Outcome], trial: Trial) -> dict[int, float]:
    """Layers kept -> distance to the bound, of the base and the mixed candidates; one that failed missed it."""
    margins = {0: _margin(base, trial)}
    for outcome in own:
        if MIXED in outcome.candidate.id:
            margin = _margin(outcome, trial) if outcome.quality is not None else margins[0]
            margins[len(list_kept(outcome.candidate))] = margin
    return margins


def _find_ceiling(base: Outcome, own: Sequence[Outcome], trial: Trial) -> float:
    """The distance to the bound without quantization: of the best fp32 candidate, or of flawless answers."""
    found = [_margin(o, trial) for o in own if o.candidate.precision == "fp32" and o.quality is not None]
    assert base.quality is not None
    return max(found, default=measure_headroom(base.quality, trial.spec.quality))


def _margin(outcome: Outcome, trial: Trial) -> float:
    assert outcome.quality is not None, "only candidates that were judged have a margin"
    return judge_score(outcome.quality, trial.spec.quality).margin
