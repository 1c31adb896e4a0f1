"""sbom.cdx.json: what a package is made of, as CycloneDX 1.6 (https://cyclonedx.org/docs/1.6/json/)."""

from __future__ import annotations

import json
import uuid
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import packc
from packc.ingest.fingerprint import hash_file
from packc.ingest.source import SourceModel
from packc.tensors import TensorSpec


def write_sbom(
    path: Path,
    *,
    name: str,
    target: str,
    source: SourceModel,
    artifact: Mapping[str, Path],
    versions: Mapping[str, str],
    served_by: Collection[str],
) -> None:
    """Writes the bill of materials of one package.

    `artifact` is the compiled model's files by name; `versions` the Python packages that made and run it, of which the
    server needs those in `served_by`: the package depends on them, and the others, of scope "excluded", only made it.
    The same contents give the same bytes: it carries no time, and its serial number is derived from the hashes.
    """
    files = {file: hash_file(location) for file, location in artifact.items()}
    serial = uuid.uuid5(uuid.NAMESPACE_URL, "\n".join([name, target, source.info.fingerprint, *files.values()]))
    libraries = [
        _library(package, version, "required" if package in served_by else "excluded")
        for package, version in sorted(versions.items())
    ]
    needed = [library["bom-ref"] for library in libraries if library["scope"] == "required"]
    model = _model(name, source, files)
    document = {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{serial}",
        "version": 1,
        "metadata": {
            "tools": {"components": [{"type": "application", "name": "packc", "version": packc.__version__}]},
            "component": {"type": "application", "bom-ref": "package", "name": f"{name} for {target}"},
        },
        "components": [model, *libraries],
        "dependencies": [{"ref": "package", "dependsOn": [model["bom-ref"], *needed]}],
    }
    path.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n")


def add_files(path: Path, files: Mapping[str, Path]) -> None:
    """Adds further artifacts of the model to the bill of materials at `path`, which gets another serial number."""
    document = json.loads(path.read_text())
    hashes = {file: hash_file(location) for file, location in files.items()}
    document["components"][0]["components"] += _list_files(hashes)
    before = document["serialNumber"].removeprefix("urn:uuid:")
    document["serialNumber"] = f"urn:uuid:{uuid.uuid5(uuid.UUID(before), chr(10).join(hashes.values()))}"
    path.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n")


def _list_files(hashes: Mapping[str, str]) -> list[dict[str, Any]]:
    return [
        {"type": "file", "bom-ref": f"model/{file}", "name": file, "hashes": [_sha256(digest)]}
        for file, digest in hashes.items()
    ]


def _model(name: str, source: SourceModel, files: Mapping[str, str]) -> dict[str, Any]:
    info = source.info
    return {
        "type": "machine-learning-model",
        "bom-ref": "model",
        "name": name,
        **({"version": info.revision} if info.revision else {}),
        "components": _list_files(files),
        "modelCard": {
            "modelParameters": {
                "task": info.task,
                **({"modelArchitecture": info.architecture} if info.architecture else {}),
                "inputs": [{"format": _format(tensor)} for tensor in source.inputs],
                "outputs": [{"format": _format(tensor)} for tensor in source.outputs],
            }
        },
        "properties": [
            {"name": "packc:source", "value": info.location},
            {"name": "packc:source-sha256", "value": info.fingerprint},
            {"name": "packc:exporter", "value": source.exporter},
        ],
    }


def _library(package: str, version: str, scope: str) -> dict[str, Any]:
    kind = "generic" if package == "python" else "pypi"
    url = f"pkg:{kind}/{package.lower().replace('_', '-')}@{version}"
    return {"type": "library", "bom-ref": url, "name": package, "version": version, "scope": scope, "purl": url}


def _sha256(digest: str) -> dict[str, str]:
    return {"alg": "SHA-256", "content": digest}


def _format(tensor: TensorSpec) -> str:
    return f"{tensor.name}: {tensor.dtype}{list(tensor.shape)}"
