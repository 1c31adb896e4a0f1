from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from uuid import UUID

from package_parts import make_text_source
from packc.package.sbom import add_files, write_sbom


def test_sbom(tmp_path: Path) -> None:
    source = make_text_source(tmp_path)
    source = replace(source, info=replace(source.info, revision="abc123"))
    for name in ("a.json", "b.json"):
        write_sbom(
            tmp_path / name,
            name="tiny",
            target="cpu",
            source=source,
            artifact={"model.onnx": source.graph},
            versions={"onnxruntime": "1.31.1", "huggingface_hub": "1.0", "python": "3.12"},
            served_by=("onnxruntime",),
        )
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()
    document = json.loads((tmp_path / "a.json").read_text())
    assert (document["bomFormat"], document["specVersion"], document["version"]) == ("CycloneDX", "1.6", 1)
    UUID(document["serialNumber"].removeprefix("urn:uuid:"))
    model, *libraries = document["components"]
    assert (model["type"], model["name"], model["version"]) == ("machine-learning-model", "tiny", "abc123")
    assert model["components"][0]["hashes"] == [
        {"alg": "SHA-256", "content": hashlib.sha256(source.graph.read_bytes()).hexdigest()}
    ]
    assert [(library["purl"], library["scope"]) for library in libraries] == [
        ("pkg:pypi/huggingface-hub@1.0", "excluded"),
        ("pkg:pypi/onnxruntime@1.31.1", "required"),
        ("pkg:generic/python@3.12", "excluded"),
    ]
    assert document["dependencies"] == [{"ref": "package", "dependsOn": ["model", "pkg:pypi/onnxruntime@1.31.1"]}]


def test_further_artifacts_are_further_files_of_the_model(tmp_path: Path) -> None:
    source = make_text_source(tmp_path)
    path = tmp_path / "sbom.cdx.json"
    write_sbom(
        path,
        name="tiny",
        target="h200",
        source=source,
        artifact={"model.onnx": source.graph},
        versions={},
        served_by=(),
    )
    before = json.loads(path.read_text())
    other = tmp_path / "model.l4.onnx"
    other.write_bytes(b"another graph")
    add_files(path, {"model.l4.onnx": other})
    after = json.loads(path.read_text())
    assert [file["name"] for file in after["components"][0]["components"]] == ["model.onnx", "model.l4.onnx"]
    assert UUID(after["serialNumber"].removeprefix("urn:uuid:"))
    assert after["serialNumber"] != before["serialNumber"]
    assert after["metadata"] == before["metadata"]
