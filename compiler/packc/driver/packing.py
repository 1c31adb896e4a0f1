"""Fills a folder with the package of one candidate, served by one plan."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from packc.driver.endings import BuildOptions
from packc.driver.evaluate import Trial
from packc.driver.inputs import BuildInputs, list_versions
from packc.driver.verdict import Findings
from packc.errors import DataError, MissingError, PackError, UsageError
from packc.package.golden import make_golden
from packc.package.pipelines.choice import ChosenPipeline
from packc.package.write import write_package
from packc.runtimes import find_runtime
from packc.samples import iter_samples
from packc.search import TimeLimit
from packc.select import Outcome
from packc.server.client import RequestFailed
from packc.server.libraries import LibraryMissing
from packc.server.load import ServerFailed
from packc.server.process import ServerStopped
from packc.server.replay import GoldenMismatch
from packc.server.verify import Evaluation
from packc.serving import ServingPlan

WARMUP_SAMPLES = 32


@dataclass(frozen=True, slots=True)
class Packing:
    """All that goes into the package of one target, whichever candidate it holds."""

    inputs: BuildInputs
    trial: Trial
    findings: Findings
    rule: ServingPlan
    """How the workload alone says to serve it."""
    pipeline: ChosenPipeline
    options: BuildOptions
    limit: TimeLimit
    """Of the whole search: candidates and plans."""

    @property
    def evaluation(self) -> Evaluation:
        """What a server's answers are judged on."""
        inputs, ingested = self.inputs, self.trial.ingested
        return Evaluation(ingested.source, inputs.evaluation, ingested.inputs, ingested.answers, inputs.metric)


class PackingFailed(PackError):
    """A candidate cannot be packaged; others may be."""


ONE_FAILED = (GoldenMismatch, LibraryMissing, PackingFailed, RequestFailed, ServerFailed, ServerStopped)
"""What costs one candidate, or one way of serving it. Any other error concerns the whole target."""


def pack_candidate(packing: Packing, chosen: Outcome, plan: ServingPlan, staging: Path) -> None:
    """Fills the empty `staging` with the candidate's package. Raises PackingFailed where the candidate is at fault."""
    try:
        _fill_package(packing, chosen, plan, staging)
    except (DataError, MissingError, UsageError):
        raise  # the user's samples, the installation or the disk are at fault, not the candidate
    except PackError as error:
        raise PackingFailed(str(error), hint=error.hint) from error


def _fill_package(packing: Packing, chosen: Outcome, plan: ServingPlan, staging: Path) -> None:
    inputs, ingested = packing.inputs, packing.trial.ingested
    assert chosen.model is not None, "only a candidate with an artifact is chosen"
    assert chosen.answers is not None, "only a candidate whose answers were judged is chosen"
    assert chosen.measurement is not None, "only a candidate that was measured is chosen"
    write_package(
        staging,
        spec=inputs.spec,
        source=ingested.source,
        model=chosen.model,
        candidate=chosen.candidate,
        runtime=find_runtime(chosen.candidate.runtime).as_measured(dict(chosen.measurement.versions)),
        serving=plan,
        warmup=list(islice(iter_samples(ingested.inputs), WARMUP_SAMPLES)),
        golden=make_golden(
            packing.pipeline, ingested.source, inputs.evaluation, ingested.inputs, chosen.answers, ingested.answers
        ),
        versions=list_versions(),
        is_served=packing.options.verify,
    )
