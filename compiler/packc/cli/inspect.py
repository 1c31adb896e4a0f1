"""`pack inspect`: what a package holds, or what a model is, without building or loading anything."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

import click

from packc.cli.console import print_json
from packc.cli.packages import refuse_bundles
from packc.ingest.source import AudioInput, ImagePreprocessing, Preprocessing, SourceInfo
from packc.package.combined_ways import list_faults
from packc.package.manifest import Manifest
from packc.package.manifest_file import MANIFEST, check_files, read_manifest
from packc.report.combined import list_combined
from packc.report.device import describe_gpu
from packc.report.view import describe_count, describe_outcome
from packc.spec.model import ModelSection
from packc.spec.paths import resolve_source
from packc.spec.read import read_spec


@click.command()
@click.argument("what", metavar="SPEC|DIR|MODEL")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def inspect(what: str, as_json: bool) -> None:
    """Show what a package (DIR), the model of a SPEC (.toml) or a MODEL is. Nothing is loaded or built."""
    path = Path(what)
    refuse_bundles(path)
    if (path / MANIFEST).is_file():
        manifest = read_manifest(path)
        problems = check_files(path, manifest)
        if as_json:
            print_json(_document_package(path, manifest, problems))
        else:
            _print_package(path, manifest, problems)
        return
    info = _inspect_model(what)
    if as_json:
        print_json({"schema": 1, "kind": "model", **asdict(info)})
    else:
        _print_facts(_list_facts(info))


def _inspect_model(what: str) -> SourceInfo:
    from packc.ingest.inspect import inspect_source

    if what.endswith(".toml"):
        return inspect_source(read_spec(Path(what)).model)
    return inspect_source(ModelSection(name="model", source=resolve_source(what, Path.cwd())))


def _document_package(folder: Path, manifest: Manifest, problems: list[str]) -> dict[str, object]:
    return {
        "schema": 1,
        "kind": "package",
        "model": manifest.model,
        "target": manifest.target,
        "profile": manifest.profile,
        "state": manifest.state,
        "met": manifest.verdict.met,
        "chosen": manifest.verdict.chosen,
        "gpu": describe_gpu(manifest) or None,
        "combined": [asdict(record) for record in manifest.combined],
        "models": _list_models(manifest),
        "files": [
            {"path": path, "size_bytes": size, "sha256": manifest.files[path]}
            for path, size in _measure_files(folder, manifest)
        ],
        "problems": problems,
    }


def _print_package(folder: Path, manifest: Manifest, problems: list[str]) -> None:
    click.echo(f"{manifest.model} for {manifest.target} (profile {manifest.profile}): {manifest.state}")
    click.echo(describe_outcome(manifest))
    if gpu := describe_gpu(manifest):
        click.echo(f"{manifest.environment.get('device', 'GPU')}: {gpu}")
    for target, text in list_combined(manifest):
        click.echo(f"  {target}: {text}")
    for fault in list_faults(manifest.combined):
        click.echo(f"warning: {fault}")
    if models := _list_models(manifest):
        click.echo(f"\nTriton models: {', '.join(models)}")
    files = _measure_files(folder, manifest)
    if files:
        total = _show_size(sum(size for _, size in files if size is not None))
        click.echo(f"\n{describe_count(len(files), 'file')}, {total}")
        width = max(len(path) for path, _ in files)
        for path, size in files:
            click.echo(f"  {path:<{width}}  {'missing' if size is None else _show_size(size):>9}")
    click.echo()
    for line in problems or ["every file is as it was built"]:
        click.echo(line)


def _list_models(manifest: Manifest) -> list[str]:
    """Names of the Triton models in the repository, the one that clients call first."""
    parts = (path.split("/") for path in manifest.files)
    names = sorted({part[1] for part in parts if part[0] == "model_repository" and len(part) > 2})
    return sorted(names, key=lambda name: name != manifest.model)


def _measure_files(folder: Path, manifest: Manifest) -> list[tuple[str, int | None]]:
    """(path, bytes) of the manifest's files; None for one that is missing."""
    paths = ((path, folder / path) for path in manifest.files)
    return [(path, file.stat().st_size if file.is_file() else None) for path, file in paths]


def _show_size(size_bytes: int) -> str:
    return f"{size_bytes / 2**20:.1f} MiB" if size_bytes >= 2**20 else f"{size_bytes / 2**10:.1f} KiB"


def _list_facts(info: SourceInfo) -> Iterable[tuple[str, str]]:
    yield "model", info.location
    yield (
        "kind",
        {"huggingface": "Hugging Face checkpoint", "onnx": "ONNX file", "torch": "PyTorch module"}[info.origin],
    )
    yield "revision", info.revision or ""
    yield "task", info.task
    yield "architecture", info.architecture or ""
    if g := info.geometry:
        yield "geometry", f"{g.layers} layers, {g.heads} heads, hidden {g.hidden}, feed-forward {g.ffn}"
    if info.preprocessing:
        yield "takes", _describe_input(info.preprocessing)
    yield "pooling", "" if info.pooling == "none" else info.pooling + (", scaled to unit length" * info.normalize)
    yield "labels", _describe_labels(info.labels)
    yield "parameters", f"{info.parameters:,}" if info.parameters else ""
    yield "weights", f"{info.weights_mib:.1f} MiB" if info.weights_mib else ""
    yield "fingerprint", info.fingerprint


def _describe_input(preprocessing: Preprocessing) -> str:
    if isinstance(preprocessing, ImagePreprocessing):
        p = preprocessing
        return f"images, {p.channels} x {p.height} x {p.width}, as {p.input}"
    if isinstance(preprocessing, AudioInput):
        return f"audio, as {preprocessing.input} {list(preprocessing.shape)} from its feature extractor"
    return f"text of at most {preprocessing.max_length} tokens, as {', '.join(preprocessing.inputs)}"


def _describe_labels(labels: tuple[str, ...], shown: int = 8) -> str:
    if not labels:
        return ""
    more = "" if len(labels) <= shown else ", ..."
    return f"{len(labels)}: {', '.join(labels[:shown])}{more}"


def _print_facts(facts: Iterable[tuple[str, str]]) -> None:
    for name, value in facts:
        if value:
            click.echo(f"{name:<14}{value}")
