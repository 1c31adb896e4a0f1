"""The last word: the selection's verdict, corrected by what the server measured, as the manifest's records."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from packc.package.manifest import (
    CandidateRecord,
    Manifest,
    MeasurementRecord,
    MissRecord,
    PromiseRecord,
    QualityRecord,
    RejectedRecord,
    ServedRecord,
    State,
    VerdictRecord,
)
from packc.plan import Plan
from packc.quality.gate import judge_score, quality_bound
from packc.quality.score import QualityScore
from packc.select import Miss, Outcome, Verdict, classify
from packc.spec.model import TargetSpec
