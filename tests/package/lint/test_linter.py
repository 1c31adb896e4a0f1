from __future__ import annotations

from pathlib import Path

import pytest

from lint_cases import TENSORS, write_repository
from models import make_tiny_onnx
from packc.errors import UsageError
from packc.package.lint import (
    batching,
    engines,
    ensemble,
    files,
    graph,
    instances,
    lint_repository,
    options,
    responses,
    tensors,
    warmup,
)
from packc.package.lint.linter import RULES

MODULES = (batching, engines, ensemble, files, graph, instances, options, responses, tensors, warmup)


def test_every_rule_is_in_the_list_once() -> None:
    written = {value for module in MODULES for name, value in vars(module).items() if name.startswith("check_")}
    assert set(RULES) == written
    assert len(RULES) == len(written)


def test_diagnostics_come_by_file_and_line(tmp_path: Path) -> None:
    write_repository(
        tmp_path,
        {
            "b": 'name: "c"\nbackend: "mine"\nmax_batch_size: -3\n' + TENSORS,
            "a": 'backend: "mine"\n' + TENSORS.replace("dims: [ 3 ]", "dims: [ 0 ]"),
        },
    )
    found = lint_repository(tmp_path)
    assert [(d.span.path.parent.name, d.span.line, d.message) for d in found if d.span] == [
        ("a", 2, "0 is not a size"),
        ("b", 1, 'the model is named "c", its folder "b"'),
        ("b", 3, "max_batch_size is negative"),
    ]


def test_a_clean_repository(tmp_path: Path) -> None:
    config = (
        'backend: "onnxruntime"\nmax_batch_size: 4\ndynamic_batching { }\n'
        'input { name: "features" data_type: TYPE_FP32 dims: 8 }\n'
        'output { name: "scores" data_type: TYPE_FP32 dims: 4 }\n'
    )
    model = make_tiny_onnx(tmp_path / "tiny.onnx").read_bytes()
    assert lint_repository(write_repository(tmp_path / "r", {"m": config}, {"m/1/model.onnx": model})) == []


def test_folders_that_are_no_repository(tmp_path: Path) -> None:
    write_repository(tmp_path / "r", {"m": ""})
    (tmp_path / "empty").mkdir()
    for folder, message in (("nowhere", "is not a folder"), ("r/m", "is one model"), ("empty", "holds no model")):
        with pytest.raises(UsageError, match=message):
            lint_repository(tmp_path / folder)


def test_configurations_of_other_names_are_checked_too(tmp_path: Path) -> None:
    good = 'backend: "mine"\ndynamic_batching { }\nmax_batch_size: 4\n' + TENSORS
    bad = good.replace("dims: [ 3 ]", "dims: [ 0 ]")
    write_repository(tmp_path, {"m": good, "n": good}, {"m/configs/l4.pbtxt": bad, "n/configs/t4.pbtxt": "backend:"})
    syntax, dims = sorted(lint_repository(tmp_path), key=lambda found: found.message != "0 is not a size")[::-1]
    assert dims.span is not None
    assert (dims.span.path, dims.message) == (tmp_path / "m" / "configs" / "l4.pbtxt", "0 is not a size")
    assert syntax.span is not None
    assert syntax.span.path == tmp_path / "n" / "configs" / "t4.pbtxt"
