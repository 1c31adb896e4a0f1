from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from google.protobuf import text_format

from packc.package.model_config import new_config
from packc.package.pipelines.triton_model import TritonModel, link_or_copy, version_path, write_models
from packc.package.schema import config_schema


def test_write_models(tmp_path: Path) -> None:
    big = tmp_path / "big.onnx"
    big.write_bytes(b"weights")
    model = TritonModel(new_config("tiny", 4), {version_path("model.onnx"): big, "warmup/a.bin": b"\x00", "n.txt": "é"})
    write_models((model,), tmp_path / "repository")
    folder = tmp_path / "repository/tiny"
    config = text_format.Parse((folder / "config.pbtxt").read_text(), config_schema().ModelConfig())
    assert config == model.config
    assert (folder / "1/model.onnx").samefile(big)
    assert (folder / "warmup/a.bin").read_bytes() == b"\x00"
    assert (folder / "n.txt").read_text(encoding="utf-8") == "é"


def test_copies_where_links_are_not_possible(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EXDEV, "other file system")

    monkeypatch.setattr(os, "link", refuse)
    (tmp_path / "a").write_bytes(b"x")
    link_or_copy(tmp_path / "a", tmp_path / "b")
    assert (tmp_path / "b").read_bytes() == b"x"
    assert not (tmp_path / "b").samefile(tmp_path / "a")


def test_link_of_a_link_is_the_file_itself(tmp_path: Path) -> None:
    (tmp_path / "blob").write_bytes(b"x")
    (tmp_path / "name").symlink_to("blob")
    link_or_copy(tmp_path / "name", tmp_path / "b")
    assert not (tmp_path / "b").is_symlink()
    assert (tmp_path / "b").read_bytes() == b"x"
