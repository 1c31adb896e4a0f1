"""Everything a target's build reads: the model as it was looked at, the data, and a digest of it all."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib import metadata
from pathlib import Path

from packc import __version__
from packc.cache import Cache, cache_key
from packc.data.generate import generate_samples
from packc.data.read import mark_pairs, read_samples
from packc.driver.job_parts import digest_parts
from packc.driver.verdict import Findings
from packc.errors import DataError, Diagnostic
from packc.extras import list_libraries
from packc.ingest.fingerprint import hash_file
from packc.ingest.source import SourceInfo
from packc.ingest.student import check_lessons
from packc.plan import Rejection
from packc.quality.metrics import check_samples, default_metric
from packc.runtimes import RUNTIMES
from packc.samples import RawSamples, count_saved, iter_samples, save_samples
from packc.select import Outcome
from packc.spec.model import MetricName, TargetSpec
from packc.target import Target


@dataclass(frozen=True, slots=True)
class BuildInputs:
    """What one target is built from."""

    spec: TargetSpec
    target: Target
    info: SourceInfo
    evaluation: RawSamples
    calibration: RawSamples
    traffic: RawSamples | None
    """Real requests for the load test; None where the spec names none."""
    lessons: RawSamples | None
    """Texts to train a student on; None where the spec asks for none."""
    metric: MetricName
    """What quality is judged by: the spec's metric, or the task's."""
    key: str
    """Digest of all of this and of the tools' versions; not of who else uses the GPU at the moment."""
    job_parts: Mapping[str, str]
    """What job bundles are made of -> its digest: results of a device stay good where the rest of `key` changes.

    The budget is not in it, nor does a bundle depend on it: where its calls are too few for a percentile, the verdict
    says so.
    """

    @property
    def jobs_key(self) -> str:
        """Digest of what job bundles are made of."""
        return cache_key(parts=dict(self.job_parts))

    @property
    def trains_on_evaluation(self) -> bool:
        """Whether a student is trained on the very samples that quality is judged on."""
        return self.lessons is not None and self.lessons.origin == self.evaluation.origin

    @property
    def calibrates_on_evaluation(self) -> bool:
        """Whether quantization may look at the very samples of the user's that quality is judged on."""
        return not (self.spec.calibration.data or self.traffic or self.evaluation.is_generated)

    def make_findings(self, outcomes: Sequence[Outcome], rejected: Sequence[Rejection]) -> Findings:
        """What came of the candidates, with the circumstances under which it did."""
        environment = {"device": self.target.name, "system": platform.platform(), **list_versions()}
        return Findings(
            self.spec,
            self.metric,
            self.evaluation.origin,
            outcomes,
            rejected,
            environment,
            self.key,
            self.jobs_key,
            self.job_parts,
            source_digest=digest_source(self.spec.model.name, self.info),
            device_notes=self.target.warnings,
        )


def gather_inputs(spec: TargetSpec, target: Target, info: SourceInfo, *, verify: bool) -> BuildInputs:
    """Reads the spec's data. Without `[quality] data`, the samples are generated, and say so.

    Raises DataError when the data are malformed, or too few for the metric that judges them.
    """
    traffic = read_samples(Path(spec.workload.data), info) if spec.workload.data else None
    evaluation = (
        read_samples(Path(spec.quality.data), info) if spec.quality.data else generate_samples(info, spec.workload)
    )
    metric = spec.quality.metric or default_metric(info.task)
    if count := count_samples(evaluation):
        check_samples(metric, info.task, count, len(evaluation.labels))
    whole = read_samples(Path(spec.calibration.data), info) if spec.calibration.data else traffic or evaluation
    calibration = limit_samples(whole, spec.calibration.samples)
    lessons = _find_lessons(spec, info, traffic or whole)
    info = mark_pairs(info, evaluation, calibration, traffic, lessons)
    data = [digest_samples(samples) for samples in (evaluation, calibration, traffic, lessons) if samples]
    source = digest_source(spec.model.name, info)
    parts = digest_parts(spec, target, info, source, data, list_versions())
    key = cache_key(spec=spec.model_dump(mode="json"), jobs=parts, verify=verify and target.is_here)
    return BuildInputs(spec, target, info, evaluation, calibration, traffic, lessons, metric, key, parts)


def _find_lessons(spec: TargetSpec, info: SourceInfo, others: RawSamples) -> RawSamples | None:
    """What a student is trained on: `[optimize] distill.data`, else the traffic, else all calibration data.

    Raises DataError when the spec asks for a student and names no data at all, as random words teach nothing, or less
    than a student takes.
    """
    distill = spec.optimize.distill
    if distill is None:
        return None
    if distill.data:
        others = read_samples(Path(distill.data), info)
    elif others.is_generated:
        message = "[optimize] distill: there are no texts to train a student on"
        raise DataError(
            Diagnostic(message, hint='give distill = { layers = 3, data = "texts.jsonl" }, no labels needed')
        )
    if others.texts:
        check_lessons(len(others.texts), others.origin)
    return others


def list_versions() -> dict[str, str]:
    """The tools whose versions a build's outcome depends on, those that are installed: the runtimes among them."""
    libraries = {library.name: library.version for library in list_libraries() if library.version}
    engines = {name: found for runtime in RUNTIMES for name, found in runtime.versions().items()}
    own = {"packc": __version__, "python": platform.python_version(), "numpy": metadata.version("numpy")}
    return {**own, **libraries, **engines}


def digest_source(name: str, info: SourceInfo) -> str:
    """Digest of what decides a model's answers and how clients ask for them, wherever its files lie."""
    preprocessing = asdict(info.preprocessing) if info.preprocessing else {}
    files = {key: hash_file(value) for key, value in preprocessing.items() if isinstance(value, Path)}
    return cache_key(
        name=name,
        fingerprint=info.fingerprint,
        task=info.task,
        part=info.part,
        preprocessing={"kind": type(info.preprocessing).__name__, **preprocessing, **files},
        pooling=info.pooling,
        normalize=info.normalize,
        labels=info.labels,
    )


def limit_samples(samples: RawSamples, count: int) -> RawSamples:
    """The first `count` of them; those of a tensor file are written to another one, in the cache."""
    return replace(
        samples,
        texts=samples.texts[:count],
        images=samples.images[:count],
        labels=samples.labels[:count],
        tensors=_limit_file(samples.tensors, count) if samples.tensors else None,
    )


def _limit_file(path: Path, count: int) -> Path:
    if count_saved(path) <= count:
        return path

    def make(folder: Path) -> None:
        save_samples(folder / "samples.npz", iter_samples(path, range(count)))

    return Cache().get_or_make("tensors", cache_key(file=hash_file(path), count=count), make) / "samples.npz"


def count_samples(samples: RawSamples) -> int:
    """How many there are; 0 where they are still to be generated from the graph's inputs."""
    if samples.tensors is not None:
        return count_saved(samples.tensors)
    return len(samples.texts or samples.images)


def digest_samples(samples: RawSamples) -> str:
    """Digest of their content: texts and labels, and the bytes of image and tensor files."""
    files = [*samples.images, *([samples.tensors] if samples.tensors else [])]
    return cache_key(texts=samples.texts, labels=samples.labels, files=[hash_file(file) for file in files])
