from __future__ import annotations

from pathlib import Path

import pytest

from packc.cli.main import run
from packc.spec.read import read_spec


def test_writes_a_spec_that_can_be_read(
    tiny_bert_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "spec.toml"
    assert run(["init", str(tiny_bert_dir), "-o", str(path), "--name", "tiny"]) == 0
    spec = read_spec(path)
    assert (spec.model.name, spec.model.source, spec.model.task) == ("tiny", str(tiny_bert_dir), "sentence-similarity")
    assert spec.quality.metric == "neighbour_agreement"
    assert spec.targets["host"].profile == "host"
    out, err = capsys.readouterr()
    assert out == ""
    assert f"wrote {path}" in err


def test_a_model_beside_the_spec_is_named_relatively(tiny_onnx_path: Path, tmp_path: Path) -> None:
    (tmp_path / "nets").mkdir()
    (tmp_path / "nets" / "small.onnx").write_bytes(tiny_onnx_path.read_bytes())
    path = tmp_path / "spec.toml"
    assert run(["init", str(tmp_path / "nets" / "small.onnx"), "-o", str(path)]) == 0
    assert 'source = "./nets/small.onnx"' in path.read_text()
    assert read_spec(path).model.name == "small"


def test_never_overwrites(tiny_bert_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "spec.toml"
    path.write_text("mine")
    assert run(["init", str(tiny_bert_dir), "-o", str(path)]) == 2
    assert path.read_text() == "mine"
    assert "exists already" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [(["--name", "two words"], "cannot be the name"), (["-o", "{tmp}/nowhere/spec.toml"], "cannot write")],
)
def test_bad_options(
    options: list[str], message: str, tiny_bert_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = ["-o", str(tmp_path / "spec.toml")] if "-o" not in options else []
    assert run(["init", str(tiny_bert_dir), *output, *(option.format(tmp=tmp_path) for option in options)]) == 2
    assert message in capsys.readouterr().err


def test_a_missing_model_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["init", str(tmp_path / "nothing"), "-o", str(tmp_path / "spec.toml")]) == 2
    assert "nothing" in capsys.readouterr().err
    assert not (tmp_path / "spec.toml").exists()
