"""The files of a chosen artifact: its main file and what must lie beside it."""

from __future__ import annotations

from pathlib import Path

from packc.errors import SourceError
from packc.package.engine_stamp import find_stamp
from packc.package.onnx_header import read_onnx_header


def artifact_files(model: Path) -> dict[str, Path]:
    """Name in the version folder -> file. The main file becomes `model<suffix>`, Triton's default name.

    An ONNX file brings the external data that it names; any other format brings the files of the same stem
    (`model.xml` brings `model.bin`). A TensorRT engine brings its stamp. Raises SourceError when external data are
    missing, PackError for an engine without its stamp.
    """
    if find_stamp(model):
        return {"model.plan": model, "model.json": model.with_suffix(".json")}
    if model.suffix != ".onnx":
        beside = (file for file in model.parent.iterdir() if file.stem == model.stem and file.is_file())
        return {f"model{file.suffix}": file for file in sorted(beside)}
    files = {"model.onnx": model}
    for name in read_onnx_header(model).external_files:
        file = model.parent / name
        if not file.is_file():
            raise SourceError(f"{model} keeps weights in {name!r}, which is not beside it")
        files[name] = file
    return files
