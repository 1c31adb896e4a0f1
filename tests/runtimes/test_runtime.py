from __future__ import annotations

import pytest

from packc.errors import PackError
from packc.runtimes import RUNTIMES, find_runtime


def test_every_runtime_is_found_by_its_name() -> None:
    names = [runtime.name for runtime in RUNTIMES]
    assert len(set(names)) == len(names)
    assert all(find_runtime(name).name == name for name in names)


def test_an_unknown_runtime_is_an_error() -> None:
    with pytest.raises(PackError, match="there is no runtime 'tvm'; there are onnxruntime"):
        find_runtime("tvm")
