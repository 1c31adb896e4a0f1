"""Which artifacts one server can load, as far as the library goes that it has."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from engines import make_stamp, write_engine
from packc.package.combined_needs import brings_code, read_requirement, settle_requirement
from packc.package.model_config import new_config
from served_packages import X, Y

TORCH, LATER_TORCH = "torch==2.11.0+cu130", "torch==2.13.0+cu130"
COMPATIBLE = {"precision": "fp16", "version_compatible": True}


def requiring(text: str) -> Any:
    config = new_config("tiny", 8)
    if text:
        config.parameters["requirement"].string_value = text
    return config


def write_plan(folder: Path, **changes: Any) -> Path:
    return write_engine(folder, make_stamp((X,), (Y,), **changes))


@pytest.mark.parametrize(
    ("needed", "there"), [("onnxruntime-gpu==1.30.0", "onnxruntime-gpu==1.31.1"), ("a==1", ""), ("", "a==1")]
)
def test_a_graph_is_read_by_the_library_that_is_there(needed: str, there: str) -> None:
    config = requiring(needed)
    assert settle_requirement(config, Path("model.onnx"), requiring(there)) is None
    assert read_requirement(config) == there


def test_a_program_is_bound_to_the_build_that_made_it() -> None:
    config = requiring(LATER_TORCH)
    assert settle_requirement(requiring(TORCH), Path("model.pt2"), requiring(TORCH)) is None
    assert settle_requirement(config, Path("model.pt2"), requiring(TORCH)) == (
        f"it needs {LATER_TORCH}, and a server of this repository has what the first target needs, {TORCH}: "
        "build it again with that"
    )
    assert read_requirement(config) == LATER_TORCH
    without = settle_requirement(config, Path("model.pt2"), requiring(""))
    assert without is not None
    assert "needs, none: build" in without


@pytest.mark.parametrize(
    ("options", "there", "fits"),
    [
        (COMPATIBLE, "tensorrt==10.16.1.11", True),
        (COMPATIBLE, "tensorrt==8.6.0", True),
        (COMPATIBLE, "tensorrt==8.5.3", False),
        ({"precision": "fp16"}, "tensorrt==10.16.1.11", False),
        (COMPATIBLE, "torch==2.13.0", False),
    ],
)
def test_an_engine_for_later_versions_too_is_loaded_by_them(
    tmp_path: Path, options: dict[str, Any], there: str, fits: bool
) -> None:
    plan = write_plan(tmp_path, options=options, tensorrt="8.6.0")
    config = requiring("tensorrt==8.6.0.1")
    assert (settle_requirement(config, plan, requiring(there)) is None) == fits
    assert (read_requirement(config) == there) == fits


def test_engines_for_later_versions_bring_code(tmp_path: Path) -> None:
    assert brings_code(write_plan(tmp_path / "compatible", options=COMPATIBLE))
    assert not brings_code(write_plan(tmp_path / "usual"))
    assert not brings_code(Path("model.onnx"))
