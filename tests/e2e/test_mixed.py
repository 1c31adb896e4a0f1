"""Mixed precision on a real model: where int8 misses the bound on any CPU, a few layers in fp32 keep it."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from packc.cache import Cache
from packc.driver.evaluate import Trial, check_candidate
from packc.driver.inputs import gather_inputs
from packc.driver.mixed import MOST_CHECKS, list_kept, propose_mixed
from packc.driver.sensitivity import find_sensitivity, record_sensitivity
from packc.driver.target import make_trial
from packc.host import probe_host
from packc.ingest.ingest import ingest_model
from packc.ingest.inspect import inspect_source
from packc.plan import make_plan
from packc.quality.gate import judge_score
from packc.runtimes.onnxruntime import OnnxRuntime
from packc.select import Outcome
from packc.spec.model import QualitySection
from packc.spec.read import read_spec
from packc.spec.resolve import resolve_targets

pytestmark = pytest.mark.e2e

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "minilm"
BOUND = 0.97
"""Of the nearest neighbours: between what int8 keeps with 8-bit sums or 7-bit weights (at most 0.96) and fp32."""


def is_kept(outcome: Outcome, trial: Trial) -> bool:
    assert outcome.quality is not None, outcome.failure
    return judge_score(outcome.quality, trial.spec.quality).kept


def test_a_few_layers_in_fp32_keep_a_bound_that_int8_misses(tmp_path: Path, minilm_dir: Path) -> None:
    for name in ("eval.jsonl", "calib.jsonl", "traffic.jsonl", "spec.toml"):
        shutil.copy(EXAMPLE / name, tmp_path)
    (tmp_path / "model").symlink_to(minilm_dir)
    spec = read_spec(tmp_path / "spec.toml")
    (target,) = resolve_targets(spec)
    inputs = gather_inputs(target, probe_host(), inspect_source(spec.model), verify=False)
    cache = Cache()
    ingested = ingest_model(inputs.info, inputs.evaluation, inputs.calibration, cache)
    quality = QualitySection(metric=inputs.metric, min=BOUND)
    trial = make_trial(inputs, ingested, cache)
    trial = replace(trial, spec=trial.spec.model_copy(update={"quality": quality}))
    plan = make_plan(inputs.info, inputs.target, target.optimize, (OnnxRuntime(),))
    planned = {candidate.id: candidate for candidate in plan.candidates}
    names = ("onnxruntime-fp32-fused", "onnxruntime-int8-dynamic", "onnxruntime-int8-dynamic-smooth")
    outcomes = [check_candidate(planned[name], trial) for name in names]
    assert [is_kept(outcome, trial) for outcome in outcomes] == [True, False, False]
    while proposed := propose_mixed(outcomes, trial):
        outcomes += [check_candidate(candidate, trial) for candidate in proposed]
    mixed = outcomes[len(names) :]
    assert 1 <= len(mixed) <= MOST_CHECKS
    best = min((o for o in mixed if is_kept(o, trial)), key=lambda outcome: len(list_kept(outcome.candidate)))
    record = record_sensitivity(find_sensitivity(outcomes, trial), outcomes, best.candidate.id)
    assert record is not None
    assert len(record.layers) == 36
    assert {layer.block for layer in record.layers} == set(range(6))
    kept = [layer for layer in record.layers if layer.is_kept]
    assert len(kept) == len(list_kept(best.candidate)) < 30
    mean_error = sum(layer.error for layer in record.layers) / len(record.layers)
    assert sum(layer.error for layer in kept) / len(kept) > mean_error
