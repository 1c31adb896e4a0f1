from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from package_parts import (
    CANDIDATE,
    SERVING,
    StubRuntime,
    make_target_spec,
    make_text_golden,
    make_text_source,
    make_token_sample,
)
from packc.errors import PackError
from packc.ingest.source import SourceModel
from packc.package.lint import lint_repository
from packc.package.write import write_package
from packc.serving import ServingPlan
from packc.spec.model import TargetSpec
from packc.tensors import TensorSpec


def write(folder: Path, source: SourceModel, spec: TargetSpec, serving: ServingPlan = SERVING) -> Path:
    folder.mkdir()
    write_package(
        folder,
        spec=spec,
        source=source,
        model=source.graph,
        candidate=CANDIDATE,
        runtime=StubRuntime(),
        serving=serving,
        warmup=[make_token_sample([2, 4, 3]), make_token_sample([2, 4, 5, 3])],
        golden=make_text_golden(source, {"red": [2, 4, 3]}),
        versions={"onnxruntime": "1.31.1"},
    )
    return folder


def test_everything_but_manifest_and_report(tmp_path: Path) -> None:
    package = write(tmp_path / "package", make_text_source(tmp_path / "source"), make_target_spec())
    assert sorted(path.name for path in package.iterdir()) == [
        "Dockerfile",
        "README.md",
        "compose.yaml",
        "golden",
        "model_repository",
        "sbom.cdx.json",
    ]
    assert lint_repository(package / "model_repository") == []
    assert (package / "model_repository/tiny-model/warmup").is_dir()


def test_in_process_is_one_model_and_needs_the_runtime_beside_the_server(tmp_path: Path) -> None:
    serving = replace(SERVING, front="in_process")
    package = write(tmp_path / "package", make_text_source(tmp_path / "source"), make_target_spec(), serving)
    assert [path.name for path in (package / "model_repository").iterdir()] == ["tiny"]
    assert lint_repository(package / "model_repository") == []
    assert "--no-deps tokenizers==" in (package / "Dockerfile").read_text()
    assert " onnxruntime==" in (package / "Dockerfile").read_text()
    assert (
        "Its Python model needs tokenizers and onnxruntime, installed with pip" in (package / "README.md").read_text()
    )
    assert "text to answer in one process" in (package / "README.md").read_text()


def test_no_warmup(tmp_path: Path) -> None:
    package = write(tmp_path / "package", make_text_source(tmp_path / "source"), make_target_spec(warmup=False))
    assert not list(package.glob("model_repository/*/warmup"))


def test_an_artifact_with_other_tensors_is_not_packaged(tmp_path: Path) -> None:
    source = make_text_source(tmp_path / "source")
    wrong = replace(source, outputs=(TensorSpec("sentence_embedding", "float16", ("batch", 8)),))
    with pytest.raises(PackError, match=r'"sentence_embedding" is TYPE_FP32 in 1/model\.onnx, not TYPE_FP16'):
        write(tmp_path / "package", wrong, make_target_spec())
