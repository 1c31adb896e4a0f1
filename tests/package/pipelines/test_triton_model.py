from __future__ import annotations

from pathlib import Path

from google.protobuf import text_format

from packc.package.model_config import new_config
from packc.package.pipelines.triton_model import TritonModel, version_path, write_models
from packc.package.schema import config_schema


def test_write_models(tmp_path: Path) -> None:
    big = tmp_path / "big.onnx"
    big.write_bytes(b"weights")
    model = TritonModel(new_config("tiny", 4), {version_path("model.onnx"): big, "warmup/a.bin": b"\x00", "n.txt": "é"})
    write_models((model,), tmp_path / "repository")
    folder = tmp_path / "repository/tiny"
    config = text_format.Parse((folder / "config.pbtxt").read_text(), config_schema().ModelConfig())
    assert config == model.config
    assert (folder / "1/model.onnx").read_bytes() == b"weights"
    assert big.stat().st_nlink == 1, "a change of the package must not reach the cache"
    assert (folder / "warmup/a.bin").read_bytes() == b"\x00"
    assert (folder / "n.txt").read_text(encoding="utf-8") == "é"
