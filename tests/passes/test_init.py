"""packc.passes: the list of passes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import packc.passes
from packc.errors import PackError
from packc.passes import PASSES, find_pass


def test_every_pass_is_listed_once_and_found_by_its_name() -> None:
    names = [graph_pass.name for graph_pass in PASSES]
    assert len(set(names)) == len(names)
    assert all(find_pass(name).name == name for name in names)
    folder = Path(packc.passes.__file__).parent
    assert all((folder / f"{name}.py").is_file() for name in names), "one pass a file, named like it"


def test_exact_passes_come_first() -> None:
    apart = {"prune_structure", "sum_in_fp32"}  # the list says why each stands where it does
    flags = [graph_pass.exact for graph_pass in PASSES if graph_pass.name not in apart]
    assert flags == sorted(flags, reverse=True)


def test_an_unknown_pass_is_an_error() -> None:
    with pytest.raises(PackError, match="there is no graph pass 'fuse_all'; there are clean_graph, "):
        find_pass("fuse_all")


def test_the_list_can_be_read_without_the_heavy_libraries() -> None:
    code = (
        "import sys, packc.passes.lower, packc.runtimes, packc.plan;"
        "print([m for m in ('onnx', 'onnx_ir', 'onnxscript', 'onnxruntime', 'torch') if m in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
