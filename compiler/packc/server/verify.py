"""Verifies a package through a real server: it loads, it answers as its artifact does, and this is how fast and well.

What is judged is what clients get: requests go in as text, image or tensors, over HTTP and gRPC, tokenizer included.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from packc.cache import Cache
from packc.errors import UsageError
from packc.ingest.source import SourceModel
from packc.measure.statistics import needed_calls
from packc.package.golden import GoldenSet, find_golden, load_golden, match_types
from packc.package.manifest import Manifest, QualityRecord, ServedRecord
from packc.package.pipelines.choice import ChosenPipeline
from packc.package.pipelines.labels import LABEL, class_names
from packc.quality.metrics import score_answers
from packc.quality.score import QualityScore
from packc.runtimes import find_runtime
from packc.samples import Array, RawSamples, Sample, save_samples
from packc.server.client import Answers, check_url, connect
from packc.server.devices import require_gpu
from packc.server.environment import require_server
from packc.server.load import MAX_PAYLOADS, MIN_REQUESTS, LoadResult, Traffic, ask_all, run_load
from packc.server.process import start_server
from packc.server.replay import decode_strings, replay_golden
from packc.server.requests import batch_requests, golden_requests, make_requests
from packc.spec.model import MetricName, TargetSpec
from packc.tensors import Precision

log = logging.getLogger(__name__)

DECISION_METRICS: tuple[MetricName, ...] = ("top1_agreement", "accuracy")
"""Metrics that need no more of a classifier than its label."""


@dataclass(frozen=True, slots=True)
class Workload:
    """The traffic that served figures are about."""

    traffic: Traffic
    batch: int
    """Samples in one request."""
    percentile: float
    """Of latency, that the budget is about."""
    warm_instances: int = 0
    """Of a server on a GPU, all of which have seen each payload before anything counts; 0 on a CPU."""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What quality through the endpoint is judged on. Sample i of `raw`, `inputs` and `answers` belong together."""

    source: SourceModel
    raw: RawSamples
    inputs: Path
    """Samples file: inputs of the graph."""
    answers: Path
    """Samples file: answers of the source model."""
    metric: MetricName


@dataclass(frozen=True, slots=True)
class Verified:
    """A package that a real server has answered through."""

    record: ServedRecord
    quality: QualityScore | None
    """The score behind `record.quality`, which the gate can judge."""


def read_workload(spec: TargetSpec) -> Workload:
    """The workload that `spec` describes."""
    w = spec.workload
    return Workload(Traffic(w.concurrency, w.rate_per_s), w.batch.typical, spec.budget.percentile)


def recall_workload(manifest: Manifest) -> Workload:
    """The workload that a finished package was built for."""
    p, chosen = manifest.promises, manifest.verdict.chosen
    runtimes = [find_runtime(record.runtime) for record in manifest.candidates if record.id == chosen]
    is_on_gpu = any(runtime.device == "gpu" for runtime in runtimes)
    warm_instances = manifest.serving.instances if is_on_gpu and manifest.serving else 0
    return Workload(Traffic(p.concurrency, p.rate_per_s), p.batch, p.percentile, warm_instances)


def verify_package(
    package: Path,
    model: str,
    workload: Workload,
    precision: Precision,
    *,
    evaluation: Evaluation | None = None,
    traffic_data: RawSamples | None = None,
    urls: Sequence[str] = (),
    cache: Cache | None = None,
    target: str | None = None,
) -> Verified:
    """Loads `package`/model_repository in a real server, replays its golden requests and measures `model`.

    Load is made of `traffic_data`, else of the evaluation's samples, else of the golden requests. With `urls` the
    server is one that runs already: its http:// address, and its grpc:// address if that is to be checked too.
    `target` is the one of a combined package whose configuration and golden answers are meant, if not the first.
    Raises MissingError without a server or the GPU that the package needs, ServerStopped when the package does not
    load, GoldenMismatch when answers differ from the artifact's beyond `precision`'s tolerance, ServerFailed when
    requests fail under load.
    """
    golden = load_golden(find_golden(package, target))
    with _serve(package / "model_repository", urls, cache, target) as addresses:
        http_url = next((url for url in addresses if url.startswith("http")), None)
        if http_url is None:
            raise UsageError("load is measured over HTTP", hint="give the server's http:// address with --url as well")
        max_error = 0.0
        for url in addresses:
            with connect(url) as client:
                server = client.server_version()
                replay = replay_golden(client, model, golden, precision)
            max_error = max(max_error, replay.max_error)
            log.info(
                "%s: %d golden requests answered over %s, off by %.2g at most",
                server,
                replay.requests,
                url.split(":")[0],
                replay.max_error,
            )
        requests = batch_requests(load_requests(golden, evaluation, traffic_data), workload.batch)
        load = _measure_load(http_url, model, requests, workload)
        quality = _score_endpoint(http_url, model, golden, evaluation, workload.traffic)
    log.info("served: p%g %.2f ms%s", workload.percentile, load.percentile_ms(workload.percentile), _remark(load))
    record = ServedRecord(
        p50_ms=load.percentile_ms(50),
        p99_ms=load.percentile_ms(99),
        throughput_per_s=load.samples_per_s,
        concurrency=workload.traffic.concurrency,
        samples=len(load.latencies_ms),
        server=server,
        latency_ms=load.percentile_ms(workload.percentile),
        percentile=workload.percentile,
        protocol="http",
        quality=QualityRecord(**asdict(quality)) if quality else None,
        golden_max_error=max_error,
        rate_per_s=workload.traffic.rate_per_s,
        batch=workload.batch,
        noisy=load.noisy,
    )
    return Verified(record, quality)


@contextlib.contextmanager
def _serve(repository: Path, urls: Sequence[str], cache: Cache | None, target: str | None) -> Iterator[Sequence[str]]:
    if urls:
        for url in urls:
            check_url(url)
        yield urls
        return
    require_gpu(repository)
    with start_server(require_server(cache), repository, cache=cache, config_name=target) as running:
        yield (running.http_url, running.grpc_url)


def _measure_load(url: str, model: str, requests: Sequence[Sample], workload: Workload) -> LoadResult:
    """As many requests as the workload's percentile needs, and at a rate the time in which so many arrive."""
    count = max(MIN_REQUESTS, needed_calls(workload.percentile))
    rate_per_s = workload.traffic.rate_per_s
    max_seconds = max(30.0, 1.5 * count / rate_per_s) if rate_per_s else 30.0
    if max_seconds > 30:
        log.info("%d requests at %g a second take about %.0f s", count, rate_per_s, count / rate_per_s)
    return run_load(
        url,
        model,
        requests,
        workload.traffic,
        batch=workload.batch,
        warm_instances=workload.warm_instances,
        min_requests=count,
        max_seconds=max_seconds,
    )


def load_requests(golden: GoldenSet, evaluation: Evaluation | None, traffic_data: RawSamples | None) -> list[Sample]:
    """At most MAX_PAYLOADS requests of one sample. A model that takes tensors has them from the evaluation only."""
    requests: Iterator[Sample] = iter(())
    if traffic_data is not None and golden.pipeline != "none":
        requests = make_requests(golden.pipeline, traffic_data, None)
    elif traffic_data is not None and traffic_data.tensors is not None:
        requests = make_requests("none", traffic_data, traffic_data.tensors)
    elif evaluation is not None:
        requests = make_requests(golden.pipeline, evaluation.raw, evaluation.inputs)
    return list(itertools.islice(match_types(requests, golden), MAX_PAYLOADS)) or golden_requests(golden)


def _score_endpoint(
    url: str, model: str, golden: GoldenSet, evaluation: Evaluation | None, traffic: Traffic
) -> QualityScore | None:
    """Quality of what clients get, as many at once as in `traffic` but whatever its rate, batched as they come.

    None without evaluation samples, and where the metric needs more of a classifier than its label.
    """
    if evaluation is None:
        return None
    classes = class_names(evaluation.source)
    answers: list[dict[str, Array]] = []
    pipeline = golden.pipeline
    requests = match_types(make_requests(pipeline, evaluation.raw, evaluation.inputs), golden)
    while part := list(itertools.islice(requests, MAX_PAYLOADS)):
        for answer in ask_all(url, model, part, Traffic(traffic.concurrency)):
            if LABEL.name in answer and pipeline != "none" and evaluation.metric not in DECISION_METRICS:
                log.info("quality is not judged through the server: %s needs more than labels", evaluation.metric)
                return None
            answers.append(_as_graph_answer(answer, pipeline, evaluation.source.answer, classes))
    with tempfile.TemporaryDirectory(prefix="pack-served-") as folder:
        served = Path(folder) / "answers.npz"
        save_samples(served, answers)
        return score_answers(
            evaluation.metric, evaluation.answers, served, evaluation.source.answer, evaluation.raw.labels, classes
        )


def _as_graph_answer(answer: Answers, pipeline: ChosenPipeline, name: str, classes: Sequence[str]) -> dict[str, Array]:
    """A served answer in the form of the graph's: an embedding or score by its name, a label as one-hot logits."""
    if pipeline == "none":
        return answer
    if LABEL.name not in answer:
        (value,) = answer.values()
        return {name: value}
    chosen = [classes.index(label) for label in decode_strings(answer[LABEL.name])]
    return {name: np.eye(len(classes), dtype=np.float32)[chosen]}


def _remark(load: LoadResult) -> str:
    remarks = [f"{load.requests_per_s:.0f} requests/s"]
    if load.noisy:
        remarks.append("noisy: other work was running")
    if load.errors:
        remarks.append(f"{load.errors} requests failed")
    return f" ({', '.join(remarks)})"
