from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from package_parts import SERVING, StubRuntime, make_target_spec, make_text_golden, make_text_source, make_token_sample
from packc.errors import PackError
from packc.ingest.source import SourceModel
from packc.package.lint import lint_repository
from packc.package.write import write_package
from packc.spec.model import TargetSpec
from packc.tensors import TensorSpec


def write(folder: Path, source: SourceModel, spec: TargetSpec) -> Path:
    folder.mkdir()
    write_package(
        folder,
        spec=spec,
        source=source,
        model=source.graph,
        runtime=StubRuntime(),
        serving=SERVING,
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


def test_no_warmup(tmp_path: Path) -> None:
    package = write(tmp_path / "package", make_text_source(tmp_path / "source"), make_target_spec(warmup=False))
    assert not list(package.glob("model_repository/*/warmup"))


def test_an_artifact_with_other_tensors_is_not_packaged(tmp_path: Path) -> None:
    source = make_text_source(tmp_path / "source")
    wrong = replace(source, outputs=(TensorSpec("sentence_embedding", "float16", ("batch", 8)),))
    with pytest.raises(PackError, match=r'"sentence_embedding" is TYPE_FP32 in 1/model\.onnx, not TYPE_FP16'):
        write(tmp_path / "package", wrong, make_target_spec())
