"""Writes one target's package: the Triton repository and all that belongs beside it."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

from packc.candidate import Candidate
from packc.errors import PackError
from packc.ingest.source import SourceModel
from packc.package.artifact import artifact_files
from packc.package.docker import list_python_packages, write_docker
from packc.package.engine_stamp import bind_source, cast_samples, find_stamp
from packc.package.golden import GoldenSet, cast_golden, write_golden
from packc.package.lint import lint_repository
from packc.package.onnx_header import read_onnx_header
from packc.package.pipelines.choice import build_models
from packc.package.pipelines.tensors import Ingredients, TritonRuntime
from packc.package.pipelines.triton_model import write_models
from packc.package.readme import write_readme
from packc.package.sbom import write_sbom
from packc.samples import Sample
from packc.serving import ServingPlan
from packc.serving.plan import set_graphs
from packc.spec.model import TargetSpec

log = logging.getLogger(__name__)


def write_package(
    folder: Path,
    *,
    spec: TargetSpec,
    source: SourceModel,
    model: Path,
    candidate: Candidate,
    runtime: TritonRuntime,
    serving: ServingPlan,
    warmup: Sequence[Sample],
    golden: GoldenSet,
    versions: Mapping[str, str],
    is_served: bool = True,
) -> None:
    """Fills the empty `folder` with everything but the manifest and the report.

    `model` is the main file of the artifact of `candidate`, which `runtime` runs; `warmup` real inputs of the graph,
    batch axis 1 each, used when the spec wants a warm-up; `golden.pipeline` says what clients send; `versions` are the
    Python packages that made and measured the artifact; `is_served` says whether a server gives the package its
    figures. Raises PackError when the written repository breaks a rule of Triton's: a bug, or an artifact whose tensors
    differ from the source's.
    """
    artifact = artifact_files(model)
    options = set_graphs(runtime.job_options(candidate, serving.threads), cuda_graphs=serving.cuda_graphs)
    stamp = find_stamp(model)
    if stamp is not None:
        source = bind_source(source, stamp)
        warmup, golden = cast_samples(warmup, source.inputs), cast_golden(golden, source.inputs)
        options = {**options, "tensorrt": stamp.tensorrt}
    ingredients = Ingredients(
        name=spec.model.name,
        source=source,
        artifact=artifact,
        runtime=runtime,
        serving=serving,
        warmup=warmup if spec.serve.warmup else (),
        cache=spec.serve.cache,
        engine_options=options,
    )
    models = build_models(golden.pipeline, ingredients)
    repository = folder / "model_repository"
    write_models(models, repository)
    if errors := [found for found in lint_repository(repository) if found.severity == "error"]:
        raise PackError("the Triton repository is not valid:\n" + "\n\n".join(error.render() for error in errors))
    write_golden(folder / "golden", golden)
    runs_engine = any(m.config.backend == "python" and "engine_options" in m.config.parameters for m in models)
    requirement = runtime.server_requirement if runs_engine else None
    library = runtime.library if serving.front == "in_process" and requirement is None else None
    packages = list_python_packages(golden.pipeline, library)
    brings_code = stamp is not None and stamp.is_version_compatible
    write_docker(
        folder,
        spec.model.name,
        spec.target,
        packages,
        requirement,
        runtime.device,
        cache=spec.serve.cache,
        brings_code=brings_code,
    )
    opset = read_onnx_header(model).opset if model.suffix == ".onnx" else None
    needed = (*packages, *filter(None, [requirement]))
    readme = folder / "README.md"
    write_readme(readme, spec, golden, models, opset, needed, candidate.passes, stamp, is_served=is_served)
    write_sbom(
        folder / "sbom.cdx.json",
        name=spec.model.name,
        target=spec.target,
        source=source,
        artifact=artifact,
        versions=versions,
        served_by={*packages, runtime.library},
    )
    log.info("packaged %s: %s", spec.model.name, ", ".join(model.name for model in models))
