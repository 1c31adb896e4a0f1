"""Candidates -> Outcomes: lower each graph, judge its answers, and time those whose quality holds.

Quality comes first because it is cheap: a candidate that breaks its bound is never timed. Whatever goes wrong with one
candidate (a failed pass, a crash, a hang, too little memory) becomes its outcome, and the others go on.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import TypeAdapter

from packc.cache import Cache, cache_key
from packc.candidate import Candidate
from packc.errors import PackError
from packc.ingest.fingerprint import hash_file
from packc.ingest.ingest import Ingested
from packc.jobs.bundle import read_result, write_bundle
from packc.jobs.job import Job, JobResult, ShapeCase
from packc.jobs.local import run_bundle
from packc.measure.jobs import check_job, timing_job
from packc.measure.measurement import Measurement
from packc.measure.rounds import measure_bundles, summarize_runs
from packc.passes.lower import lower_graph
from packc.quality.gate import judge_score
from packc.quality.metrics import default_metric, score_answers
from packc.quality.score import QualityScore
from packc.runtimes import find_runtime
from packc.search import Clock
from packc.select import Outcome
from packc.spec.model import TargetSpec

log = logging.getLogger(__name__)

ROUNDS = 3
JOB_TIMEOUT_S = 600.0


@dataclass(frozen=True, slots=True)
class Trial:
    """What every candidate of one target is tried on."""

    spec: TargetSpec
    ingested: Ingested
    labels: tuple[str, ...]
    """True classes of the evaluation samples; empty when they are not known."""
    cases: tuple[ShapeCase, ...]
    latency_inputs: Path
    threads: int
    device: str
    """Identity of this machine, so that no measurement is taken for another's."""
    cache: Cache


def evaluate_candidates(candidates: Sequence[Candidate], trial: Trial, clock: Clock) -> list[Outcome]:
    """One outcome a candidate, in the order given."""
    checked = [_check(candidate, trial, clock) for candidate in candidates]
    return _time([outcome for outcome in checked], trial)
