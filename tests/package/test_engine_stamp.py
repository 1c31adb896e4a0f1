from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from engines import make_stamp, write_engine
from package_parts import make_text_source, make_token_sample
from packc.errors import PackError
from packc.package.artifact import artifact_files
from packc.package.engine_stamp import bind_source, cast_samples, find_stamp, read_profile
from packc.tensors import TensorSpec

X, Y = TensorSpec("x", "float32", ("batch", 2)), TensorSpec("y", "float32", ("batch", 2))


def test_an_engine_tells_what_it_was_built_by_and_for(tmp_path: Path) -> None:
    stamp = find_stamp(write_engine(tmp_path, make_stamp([X], [Y], ["x=1x2/1x2/4x2"])))
    assert stamp is not None
    assert stamp.describe() == "TensorRT 8.6.0 for NVIDIA H200 (compute capability 9.0)"
    assert (stamp.profiles, stamp.inputs[0].dims) == (("x=1x2/1x2/4x2",), (-1, 2))
    assert (stamp.is_version_compatible, stamp.hardware_compatible) == (False, "none")
    assert find_stamp(tmp_path / "model.onnx") is None


def test_an_engine_without_a_stamp_is_of_no_use(tmp_path: Path) -> None:
    plan = write_engine(tmp_path, make_stamp([X], [Y]))
    (tmp_path / "model.json").write_text('{"tensorrt": 8}')
    with pytest.raises(PackError, match=r"model\.json is malformed at tensorrt"):
        find_stamp(plan)
    (tmp_path / "model.json").unlink()
    with pytest.raises(PackError, match=r"has no model\.json beside it"):
        artifact_files(plan)


def test_a_stamp_that_cannot_be_read_is_not_called_missing(tmp_path: Path) -> None:
    plan = write_engine(tmp_path, make_stamp([X], [Y]))
    (tmp_path / "model.json").unlink()
    (tmp_path / "model.json").mkdir()
    with pytest.raises(IsADirectoryError):
        find_stamp(plan)


def test_its_files_are_the_plan_and_the_stamp(tmp_path: Path) -> None:
    assert list(artifact_files(write_engine(tmp_path, make_stamp([X], [Y])))) == ["model.plan", "model.json"]


def test_tensors_have_the_types_of_the_engines_border(tmp_path: Path) -> None:
    source = make_text_source(tmp_path)
    stamp = find_stamp(write_engine(tmp_path, make_stamp(source.inputs, source.outputs)))
    assert stamp is not None
    bound = bind_source(source, stamp)
    assert {tensor.dtype for tensor in source.inputs} == {"int64"}
    assert {tensor.dtype for tensor in bound.inputs} == {"int32"}
    (sample,) = cast_samples([make_token_sample([2, 4, 3])], bound.inputs)
    assert {array.dtype for array in sample.values()} == {np.dtype(np.int32)}
    other = find_stamp(write_engine(tmp_path, make_stamp([X], [Y])))
    assert other is not None
    with pytest.raises(PackError, match="the engine has no input_ids"):
        bind_source(source, other)


def test_profiles_are_read() -> None:
    assert read_profile("ids=1x1/1x32/8x128 scale=1") == {
        "ids": ((1, 1), (1, 32), (8, 128)),
        "scale": ((1,), (1,), (1,)),
    }
    with pytest.raises(PackError, match="no optimization profile, at 'ids=1x'"):
        read_profile("ids=1x")
