"""Tiny packages for GPUs, as their builds leave them: of a target that was measured, and of one that was only built."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path

from pydantic import TypeAdapter

from packc.cache import Cache
from packc.candidate import OptionValue
from packc.driver.combine import combine_targets
from packc.driver.endings import BuildOptions
from packc.jobs.job import Job
from packc.package.manifest import (
    CandidateRecord,
    Manifest,
    MeasurementRecord,
    QualityRecord,
    ServedRecord,
    ServingRecord,
    VerdictRecord,
)
from packc.package.manifest_file import hash_files, read_manifest, write_manifest
from packc.package.model_config import add_batching, add_instances, add_tensor, add_warmup, new_config
from packc.package.pipelines.tensors import WARMUP_CALLS
from packc.package.pipelines.triton_model import TritonModel, write_models
from packc.runtimes.onnxruntime_cuda import OnnxRuntimeCuda
from packc.samples import Sample
from packc.target_profiles import find_target
from served_packages import X, Y, make_manifest, make_scaling_graph, write_tensor_package

FP16, TF32 = "onnxruntime-cuda-fp16-fused", "onnxruntime-cuda-tf32"
GRAPH: Mapping[str, OptionValue] = {"graph": True}


def write_gpu_repository(
    folder: Path,
    scale: float,
    *,
    options: Mapping[str, OptionValue] = GRAPH,
    instances: int = 1,
    warmup: Sample | None = None,
) -> Path:
    """One model, `tiny`, of a graph that multiplies by `scale`."""
    config = new_config("tiny", 8)
    add_tensor(config, "input", X)
    add_tensor(config, "output", Y)
    add_batching(config, 0)
    add_instances(config, instances, "gpu")
    OnnxRuntimeCuda().configure_triton(config, options, 1)
    files = add_warmup(config, [warmup] if warmup else [], WARMUP_CALLS["gpu"])
    graph = make_scaling_graph(folder.parent / f"{folder.name}-graph" / "model.onnx", scale)
    write_models((TritonModel(config, {"1/model.onnx": graph, **files}),), folder)
    return folder


def write_measured(folder: Path, target: str, scale: float, candidate: str = FP16, *, instances: int = 1) -> Path:
    """What a build with a GPU leaves at `folder`/`target`."""
    package = write_tensor_package(folder / target, scale=scale, promised=scale)
    for path in sorted((package / "model_repository").rglob("*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()
    write_gpu_repository(package / "model_repository", scale, instances=instances)
    (package / "README.md").write_text(f"# tiny for {target}\n")
    (package / "sbom.cdx.json").write_text(
        '{"serialNumber": "urn:uuid:12345678-1234-5678-1234-567812345678", "components": [{"components": []}]}'
    )
    served = ServedRecord(2.0, 4.0, 500.0, 1, 100, "triton stub", 4.0, 99.0, "http", None, 0.0)
    manifest = replace(
        make_gpu_manifest(target, (candidate,)),
        state="verified",
        verdict=VerdictRecord(True, candidate, ()),
        served=served,
        serving=ServingRecord(instances, 1, 8, 0, ()),
    )
    return _seal(package, manifest)


def write_built(folder: Path, target: str, graphs: Mapping[str, float], judged: Collection[str] | None = None) -> Path:
    """What a build without that GPU leaves: a job bundle a candidate, whose graph multiplies by so much.

    The answers of the `judged` ones have a score; of all, where none are named.
    """
    package = folder / target
    package.mkdir()
    for name, scale in graphs.items():
        bundle = package / "job" / name
        make_scaling_graph(bundle / "model" / "model.onnx", scale)
        job = Job(name, "onnxruntime-cuda", "model/model.onnx", {"graph": True}, 1, (), (), (), True)
        (bundle / "job.json").write_bytes(TypeAdapter(Job).dump_json(job))
    verdict = VerdictRecord(None, None, ("not measured",))
    manifest = make_gpu_manifest(target, tuple(graphs))
    quality = QualityRecord("cosine", 0.99, 0.98, 1.0)
    scored = MeasurementRecord(None, None, None, None, None, None, quality)
    records = tuple(
        replace(record, measurements=scored) if judged is None or record.id in judged else record
        for record in manifest.candidates
    )
    return _seal(package, replace(manifest, state="built", verdict=verdict, candidates=records))


def write_fleet(folder: Path) -> Path:
    """A package for two GPUs that were measured, h200 and l4, and one that was only built, t4."""
    folders = write_measured(folder, "h200", 2.0), write_measured(folder, "l4", 3.0, TF32)
    built = write_built(folder, "t4", {FP16: 2.0})
    profiles = ("nvidia-h200-sxm", "nvidia-l4", "nvidia-t4")
    named = [(f.name, find_target(p, folder)) for f, p in zip((*folders, built), profiles, strict=True)]
    return combine_targets("fleet", named, folder, BuildOptions(), Cache(folder / "cache")).folder


def make_gpu_manifest(target: str, candidates: tuple[str, ...]) -> Manifest:
    records = tuple(
        CandidateRecord(
            name, "onnxruntime-cuda", name.split("-")[2], () if name == TF32 else ("clean_graph",), "built", None, None
        )
        for name in candidates
    )
    return replace(
        make_manifest("tiny"), target=target, profile=target, candidates=records, source_digest="of the one model"
    )


def change(package: Path, **changes: object) -> None:
    """Writes the package's manifest anew with these fields."""
    _seal(package, replace(read_manifest(package), **changes))  # type: ignore[arg-type]


def _seal(package: Path, manifest: Manifest) -> Path:
    write_manifest(package, replace(manifest, files=hash_files(package)))
    return package
