from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import pytest

from goldens import check_golden
from packc.errors import UsageError
from packc.package.manifest import (
    CandidateRecord,
    Manifest,
    MeasurementRecord,
    PromiseRecord,
    QualityRecord,
    RejectedRecord,
    ServedRecord,
    VerdictRecord,
)
from packc.package.manifest_file import check_files, hash_files, read_manifest, write_manifest

QUALITY = QualityRecord("cosine", 0.99, 0.98, 1.0)
MANIFEST = Manifest(
    model="tiny",
    target="cpu",
    profile="host",
    state="verified",
    verdict=VerdictRecord(True, "onnxruntime-fp32", ("budget met: p99 9.8 ms of 15",)),
    promises=PromiseRecord(15.0, 99.0, None, None, None, "cosine", 0.9, "eval.jsonl"),
    candidates=(
        CandidateRecord(
            "onnxruntime-fp32",
            "onnxruntime",
            "fp32",
            ("fuse_attention",),
            "kept",
            None,
            MeasurementRecord(1.5, 2.0, 100.0, 0.1, 50.0, 0.3, QUALITY),
        ),
    ),
    rejected=(RejectedRecord("fp16", "the CPU has no fp16"),),
    served=ServedRecord(2.0, 3.0, 99.0, 1, 200, "triton 2.51.0", 3.0, 99.0, "http", QUALITY, 1e-6),
    environment={"cpu": "Ümlaut"},
)


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    write_manifest(tmp_path, MANIFEST)
    assert read_manifest(tmp_path) == MANIFEST
    document = json.loads((tmp_path / "manifest.json").read_text())
    assert list(document)[:2] == ["schema", "model"]
    assert {"state", "verdict", "candidates", "served", "environment", "files"} <= set(document)


def test_figures_are_finite(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        write_manifest(tmp_path, replace(MANIFEST, verdict=VerdictRecord(None, None, (), (float("nan"),))))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("manifest_not_json", "{"),
        ("manifest_no_object", "[1]"),
        ("manifest_newer", '{"schema": 2}'),
        ("manifest_incomplete", '{"schema": 1, "model": "tiny", "state": "done"}'),
    ],
)
def test_manifests_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, text: str) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(UsageError) as caught:
        read_manifest(Path())
    check_golden(f"package/errors/{name}.txt", caught.value.render() + "\n")


def test_a_folder_that_is_no_package(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"is not a package: manifest\.json cannot be read"):
        read_manifest(tmp_path)


def test_hashes_tell_what_was_changed(tmp_path: Path) -> None:
    for name in ("a.txt", "sub/b.txt", "manifest.json", "report.html"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    hashes = hash_files(tmp_path)
    assert list(hashes) == ["a.txt", "sub/b.txt"]
    assert hashes["a.txt"] == hashlib.sha256(b"a.txt").hexdigest()
    manifest = replace(MANIFEST, files=hashes)
    assert check_files(tmp_path, manifest) == []
    (tmp_path / "a.txt").write_text("tampered")
    (tmp_path / "sub/b.txt").unlink()
    (tmp_path / "new.txt").touch()
    assert check_files(tmp_path, manifest) == [
        "a.txt was changed after it was built",
        "sub/b.txt is missing",
        "new.txt was added after the package was built",
    ]
