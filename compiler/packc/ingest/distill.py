"""SourceInfo -> a student of fewer layers, trained to answer as the model does and exported; from the cache."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from pathlib import Path

from packc.cache import Cache, cache_key
from packc.ingest.export import OPSET
from packc.ingest.fingerprint import fingerprint_files
from packc.ingest.ingest import content_of, find_tool_versions, hash_raw, run_worker
from packc.ingest.request import Request, read_source, read_training
from packc.ingest.source import SourceInfo, SourceModel
from packc.ingest.student import StudentPlan, Training
from packc.ingest.torch_module import search_path
from packc.samples import RawSamples
from packc.spec.optimize import DistillSection

log = logging.getLogger(__name__)

CACHE_KIND = "student"
TRAINERS = ("student.py", "train.py")
"""Files whose content decides what a student becomes."""


@dataclass(frozen=True, slots=True)
class Distilled:
    """A student as a source model of its own, and how it was trained."""

    source: SourceModel
    training: Training


def distill_student(info: SourceInfo, section: DistillSection, texts: RawSamples, cache: Cache) -> Distilled:
    """Trains a student of `section.layers` layers on `texts` in a child process and exports it.

    One whose training the time cut short is not found again: on a quieter machine it would have learned more.
    Raises SourceError when the model's layers cannot be told apart or the student cannot be exported; DataError when
    the texts do not fit the model.
    """
    assert info.geometry is not None, "a plan has students of models with known layers only"
    of_layers = info.geometry.layers
    plan = StudentPlan(section.layers, of_layers, section.steps, section.max_minutes * 60, texts.origin)
    folder = Path(__file__).parent
    key = cache_key(
        info=content_of(info),
        tools=find_tool_versions(info),
        opset=OPSET,
        code=fingerprint_files([folder / name for name in TRAINERS], folder),
        plan=[plan.layers, plan.of_layers, plan.steps, plan.max_seconds],
        texts=hash_raw(texts),
    )
    small = replace(info, geometry=replace(info.geometry, layers=section.layers))

    def make(staging: Path) -> None:
        run_worker(Request(info, staging, True, None, texts, texts, tuple(search_path()), plan))

    reused = f"student of {section.layers} of {of_layers} layers: trained before"
    entry = cache.get_or_make(CACHE_KIND, key, make, lambda folder: not read_training(folder).is_cut, reused=reused)
    training = replace(read_training(entry), data=texts.origin)
    log.info("%s", describe_training(training))
    return Distilled(read_source(entry, small), training)


def describe_training(training: Training) -> str:
    """`a student of 3 of 6 layers, trained in 300 steps on 540 texts: loss 1.31 to 0.21 on texts held out`."""
    text = (
        f"a student of {training.layers} of {training.of_layers} layers, trained in {training.steps} steps on "
        f"{training.samples:,} texts: loss {training.loss_before:.2f} to {training.loss_after:.2f} on texts held out"
    )
    return f"{text}; distill.max_minutes ended it before its {training.of_steps} steps" if training.is_cut else text
